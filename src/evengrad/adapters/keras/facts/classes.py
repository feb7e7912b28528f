"""Class numbers that a loss compares with every unit of an output."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.backend.differentiate import array
from evengrad.adapters.keras.facts.calls import LossHeard

_LEAST = 3  # units: two are no classes for sure
_BY_ELEMENT = frozenset(
    [
        "binary_crossentropy",
        "huber",
        "kl_divergence",
        "log_cosh",
        "mean_absolute_error",
        "mean_squared_error",
        "mean_squared_logarithmic_error",
        "poisson",
    ]
)


def judge_classes(call: LossHeard) -> dict[str, Any] | None:
    """For a fact: one class number for a whole row of units, in a loss that takes a value for each. None where
    the loss reads class numbers, or the targets are none.
    """
    output, target = (tuple(getattr(t, "shape", ())) for t in (call.output, call.target))
    if call.own or call.function not in _BY_ELEMENT or len(output) < 2:
        return None
    units = output[-1]
    if units is None or units < _LEAST or target not in ((*output[:-1], 1), output[:-1]):
        return None
    if isinstance(call.target, keras.KerasTensor):
        return None
    try:
        values = np.asarray(array(call.target), dtype=np.float64)
    except Exception:  # a tensor of a graph that is being made
        return None
    whole = values.size and (values == np.round(values)).all()
    if not whole or values.min() < 0 or values.max() > units - 1 or values.max() < 2:
        return None
    if call.head != "softmax" and values.max() != units - 1:
        return None
    return {
        "function": call.function,
        "output": list(output),
        "target": list(target),
        "result": list(output),
        "first": False,
        "classes": int(units),
    }
