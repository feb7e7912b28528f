"""Weights and optimizer state between two steps: their figures, and copies to go back to."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.tap.access import Access
from evengrad.adapters.keras.tap.ring import AnyRing
from evengrad.values.run import Floats

_SMALL = 1 << 16  # elements; moving statistics are below


def small_rest(owner: Any) -> list[Any]:
    """A model's small variables that are not trained, or a metric's variables; of floats."""
    if owner is None:
        return []
    found = getattr(owner, "non_trainable_variables", None)
    return [
        v
        for v in (owner.variables if found is None else found)
        if keras.backend.is_float_dtype(v.dtype) and math.prod(v.shape) <= _SMALL
    ]


def figures(
    access: Access, variables: list[Any], before: list[Any] | None
) -> tuple[Floats, Floats]:
    """Rms of each variable, and of what it changed by since ``before``; NaN without that. Both
    (variables,).
    """
    weights, updates = [], []
    for i, variable in enumerate(variables):
        now = np.asarray(access.read(variable)).astype(np.float32, copy=False)
        weights.append(_rms(now))
        if before is not None:
            old = np.asarray(ops.convert_to_numpy(before[i])).astype(np.float32, copy=False)
            updates.append(_rms(now - old))
    nothing = np.full(len(variables), math.nan)
    return np.array(weights), nothing if before is None else np.array(updates)


def _rms(values: Any) -> float:
    flat = values.ravel()
    square = float(np.dot(flat, flat))
    if not math.isfinite(square) or square == 0.0:
        square = float(np.sum(np.square(flat, dtype=np.float64)))
    return math.sqrt(square / max(flat.size, 1)) if square >= 0 else math.nan


class KerasSnapshot:
    """The last good weights, statistics and optimizer state, to roll back to."""

    def __init__(self, access: Access, model: Any, optimizer: Any, ring: AnyRing) -> None:
        self._optimizer = optimizer
        rate = compat.given_rate(optimizer)
        leave = {id(rate)}
        with ring.out():
            variables = [v for v in [*model.variables, *optimizer.variables] if id(v) not in leave]
        self._values = [(v, np.array(access.read(v))) for v in variables if "seed" not in v.path]

    def put_back(self, access: Access, lower: float) -> None:
        """All of them; the learning rate of now times ``lower`` (a schedule keeps its own)."""
        for variable, value in self._values:
            access.write(variable, value)
        rate = compat.given_rate(self._optimizer)
        if isinstance(rate, compat.Variable):
            access.write(rate, np.float32(access.read(rate) * lower))
