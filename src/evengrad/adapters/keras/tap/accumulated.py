"""Gradients that Keras on PyTorch steps along once more: nobody has set them back since the last step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.tap.summed import kept_fact
from evengrad.values.fact import Fact, Where

_ENOUGH = 3  # steps in a row, from the second one on
_FEW = 64  # elements that are compared


class Accumulated:
    """Compares what a backward pass finds with what the optimizer's last step has left."""

    def __init__(self) -> None:
        self._left: dict[int, list[tuple[Any, Any]]] = {}
        self._steps: dict[int, int] = {}
        self._carried: dict[int, int] = {}

    def backward(self) -> None:
        """One begins."""
        for key, left in self._left.items():
            self._carried[key] += bool(left) and all(_same(v, g) for v, g in left)
        self._left.clear()

    def applied(self, optimizer: Any, variables: Any, backward: Where | None) -> Fact | None:
        """A step is made. Returns the fact, once it is sure: all steps but the first were made of such."""
        key = id(optimizer)
        steps = self._steps[key] = self._steps.get(key, 0) + 1
        self._carried.setdefault(key, 0)
        if steps - 1 > _ENOUGH:
            return None
        sampled = [(v, _sample(v)) for v in variables]
        self._left[key] = [(v, g) for v, g in sampled if g is not None and g.any()]
        if steps - 1 != _ENOUGH or self._carried[key] < _ENOUGH:
            return None
        return kept_fact(optimizer, backward, _ENOUGH)


def _same(variable: Any, before: Any) -> bool:
    now = _sample(variable)
    return now is not None and np.array_equal(now, before)


def _sample(variable: Any) -> Any:
    gradient = getattr(variable.value, "grad", None)
    if gradient is None:
        return None
    return keras.ops.convert_to_numpy(gradient.reshape(-1)[:_FEW]).copy()
