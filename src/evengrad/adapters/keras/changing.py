"""Makes changes in a live, compiled model, in the moment before its first training step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from evengrad.adapters.keras import changing_optimizer as optimizer
from evengrad.adapters.keras.changing_activation import activation
from evengrad.adapters.keras.changing_ends import inputs, logits
from evengrad.adapters.keras.changing_network import Network
from evengrad.adapters.keras.changing_normalise import normalise
from evengrad.adapters.keras.changing_rate import decay, rate, warmup
from evengrad.adapters.keras.changing_weights import initialise
from evengrad.change import (
    Activation,
    Beta2,
    Change,
    Clip,
    Decay,
    Initialise,
    Inputs,
    Logits,
    Normalise,
    Optimizer,
    Rate,
    Warmup,
)
from evengrad.errors import CannotChangeError

_NETWORK: dict[type, Callable[[Network, Any], None]] = {
    Initialise: initialise,
    Activation: activation,
    Normalise: normalise,
    Logits: logits,
    Inputs: inputs,
}
_TRAINING: dict[type, Callable[[Any, Any], None]] = {
    Rate: rate,
    Warmup: warmup,
    Decay: decay,
    Optimizer: optimizer.optimizer,
    Beta2: optimizer.beta2,
    Clip: optimizer.clip,
}


def apply(changes: Iterable[Change], model: Any, x: Any = None) -> None:
    """All of them, in order. x: inputs of a batch, by which a model is built that is not yet, and followed
    where it does not know its own inputs' shapes. Raises CannotChangeError.
    """
    seen = Network(model, x)
    for change in changes:
        if type(change) in _NETWORK:
            _NETWORK[type(change)](seen, change)
        elif type(change) in _TRAINING:
            _TRAINING[type(change)](model, change)
        else:
            raise CannotChangeError(f"{type(change).__name__} cannot be made in Keras.")
    for name in ("train_function", "test_function", "predict_function"):
        setattr(model, name, None)  # what was compiled before has the old model in it
