"""Makes changes in a live, compiled model, in the moment before its first training step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from evengrad.adapters.keras.change import optimizer
from evengrad.adapters.keras.change.activation import activation
from evengrad.adapters.keras.change.ends import finite, finite_targets, inputs, logits
from evengrad.adapters.keras.change.model import Network
from evengrad.adapters.keras.change.normalise import normalise
from evengrad.adapters.keras.change.pretrained import pretrained, slow
from evengrad.adapters.keras.change.rate import decay, rate, warmup
from evengrad.adapters.keras.change.skip import skip
from evengrad.adapters.keras.change.weights import initialise, unit_variance
from evengrad.errors import CannotChangeError
from evengrad.values.change import (
    Activation,
    AddNormalisation,
    Beta2,
    Change,
    Decay,
    Finite,
    FiniteTargets,
    Initialise,
    Inputs,
    Logits,
    LossScale,
    Pretrained,
    SetRate,
    Skip,
    UnitVariance,
    UseOptimizer,
    Warmup,
)

_NETWORK: dict[type, Callable[[Network, Any], None]] = {
    Initialise: initialise,
    Activation: activation,
    AddNormalisation: normalise,
    Skip: skip,
    Logits: logits,
    Finite: finite,
    FiniteTargets: finite_targets,
    Inputs: inputs,
    UnitVariance: unit_variance,
    Pretrained: pretrained,
}
_TRAINING: dict[type, Callable[[Any, Any], None]] = {
    SetRate: rate,
    Warmup: warmup,
    Decay: decay,
    UseOptimizer: optimizer.optimizer,
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
