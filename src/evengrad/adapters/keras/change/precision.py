"""A live model without half precision."""

from __future__ import annotations

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.change.model import LiveModel
from evengrad.errors import CannotChangeError

_FULL = "float32"


def full(live: LiveModel) -> None:
    """Each layer computes in float32. Raises CannotChangeError where all do, or the weights are shorter."""
    layers = compat.layers_of(live.model)
    if any(layer.variable_dtype != _FULL for layer in layers):
        raise CannotChangeError("The weights themselves are in half precision.")
    short = [layer for layer in layers if layer.compute_dtype != _FULL]
    if not short:
        raise CannotChangeError("All of it is computed in float32 already.")
    for layer in short:
        layer.dtype_policy = _FULL
