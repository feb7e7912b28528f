"""Makes changes in a live, compiled model, in the moment before its first training step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from evengrad.adapters.keras import changing_optimizer as optimizer
from evengrad.adapters.keras.changing_activation import activation
from evengrad.adapters.keras.changing_ends import finite, finite_targets, inputs, logits
from evengrad.adapters.keras.changing_network import Network
from evengrad.adapters.keras.changing_normalise import normalise
from evengrad.adapters.keras.changing_rate import decay, rate, warmup
from evengrad.adapters.keras.changing_skip import skip
from evengrad.adapters.keras.changing_weights import initialise, unit_variance
from evengrad.adapters.keras.pretrained import pretrained, slow
from evengrad.change import (
    Activation,
    Beta2,
    Change,
    Decay,
    Finite,
    FiniteTargets,
    Initialise,
    Inputs,
    Logits,
    LossScale,
    Normalise,
    Optimizer,
    Pretrained,
    Rate,
    Skip,
    UnitVariance,
    Warmup,
)
from evengrad.errors import CannotChangeError

_NETWORK: dict[type, Callable[[Network, Any], None]] = {
    Initialise: initialise,
    Activation: activation,
    Normalise: normalise,
    Skip: skip,
    Logits: logits,
    Finite: finite,
    FiniteTargets: finite_targets,
    Inputs: inputs,
    UnitVariance: unit_variance,
    Pretrained: pretrained,
}
_TRAINING: dict[type, Callable[[Any, Any], None]] = {
    Rate: rate,
    Warmup: warmup,
    Decay: decay,
    Optimizer: optimizer.optimizer,
    Beta2: optimizer.beta2,
    LossScale: optimizer.loss_scale,
}


def apply(
    changes: Iterable[Change],
    model: Any,
    x: Any = None,
    note: Callable[[str], None] = lambda _: None,
) -> None:
    """All of them, in order. x: inputs of a batch, by which a model is built that is not yet, and followed
    where it does not know its own inputs' shapes. note: told what they did. Raises CannotChangeError.
    """
    seen = Network(model, x, note)
    for change in changes:
        if type(change) in _NETWORK:
            _NETWORK[type(change)](seen, change)
        elif type(change) in _TRAINING:
            _TRAINING[type(change)](model, change)
        else:
            raise CannotChangeError(f"{type(change).__name__} cannot be made in Keras.")
    slow(model, *seen.slower)
    for name in ("train_function", "test_function", "predict_function"):
        setattr(model, name, None)  # what was compiled before has the old model in it
