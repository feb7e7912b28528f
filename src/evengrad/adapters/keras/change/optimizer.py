"""Another optimizer, another memory and loss scaling in a live model."""

from __future__ import annotations

from typing import Any

import keras

from evengrad.adapters.keras.change.model import LiveModel
from evengrad.adapters.keras.change.rate import rated
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.errors import CannotChangeError

_KINDS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "adagrad": keras.optimizers.Adagrad,
    "sgd": keras.optimizers.SGD,
}
_KEPT = (
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)
_WITH_SQUARES = ("Adam", "AdamW", "Nadam", "Lamb")


def optimizer(live: LiveModel, name: str, value: float) -> None:
    """A new one in the old one's place, under its loss scaling; what it was told that is no part of its rule
    (weight decay, clipping, averaging, accumulation), and its schedule, stay.
    """
    model, old = live.model, unscaled(live.model.optimizer)
    kept = {word: getattr(old, word) for word in _KEPT if getattr(old, word, None)}
    new = _KINDS[name](learning_rate=rated(old, value), **kept)
    _put(model, new)


def renewed(model: Any) -> None:
    """A fresh copy of an optimizer that was built for fewer weights than there are now."""
    old = unscaled(model.optimizer)
    if old.built:
        _put(model, type(old).from_config(old.get_config()))


def _put(model: Any, new: Any) -> None:
    scaler = model.optimizer
    if scaler is not unscaled(scaler):
        new = type(scaler)(
            new,
            initial_scale=scaler.initial_scale,
            dynamic_growth_steps=scaler.dynamic_growth_steps,
        )
    model.optimizer = new


def beta2(live: LiveModel, value: float) -> None:
    """Of the Adam family."""
    found = unscaled(live.model.optimizer)
    kinds = tuple(getattr(keras.optimizers, name) for name in _WITH_SQUARES)
    if not isinstance(found, kinds):
        raise CannotChangeError(
            f"{type(found).__name__} has no beta_2 for squared gradients; expected Adam or the like."
        )
    found.beta_2 = value


def loss_scale(live: LiveModel, value: float) -> None:
    """Keras' own scaling around the optimizer."""
    model, found = live.model, live.model.optimizer
    if found is not unscaled(found):
        raise CannotChangeError("The optimizer scales the loss already.")
    renewed(model)
    model.optimizer = keras.optimizers.LossScaleOptimizer(model.optimizer, initial_scale=value)
