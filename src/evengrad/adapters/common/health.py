"""Saturated elements and dead units of an activation's output, alike for every framework."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from evengrad.theory.activations import canonical
from evengrad.values.probe import ActivationHealth

# The flat ends of bounded activations: of sigmoid and tanh the last 1% of the range.
_FLAT: dict[str, tuple[float | None, float]] = {
    "tanh": (-0.99, 0.99),
    "sigmoid": (0.01, 0.99),
    "hard_tanh": (-1.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "relu6": (None, 6.0),
}
_ZERO_REGION = {"relu", "relu6", "threshold"}
_NOT_ELEMENTWISE = {"softmax", "log_softmax", "logsoftmax", "softmin", "glu", "sparsemax"}


def zero_region(name: str) -> bool:
    """Whether an activation is zero for all that is negative, so that its units can die."""
    return canonical(name) in _ZERO_REGION


def activation_health(
    name: str, output: npt.NDArray[Any], *, axis: int, flat: tuple[float, float] | None = None
) -> ActivationHealth | None:
    """Health of an activation by its name.

    Args:
        name: in any framework's spelling.
        output: of shape (batch, ...).
        axis: where its units are.
        flat: a hard tanh's own range.

    Returns:
        None for what does not act on each element alone.
    """
    name = canonical(name)
    if name in _NOT_ELEMENTWISE or output.ndim < 2 or output.size == 0:
        return None
    saturated = dead = 0.0
    if name in _FLAT:
        low, high = _FLAT[name] if flat is None or name in _ZERO_REGION else flat
        ends = output >= high
        if low is not None:
            ends |= output <= low
        saturated = float(ends.mean())
    if name in _ZERO_REGION:
        others = tuple(i for i in range(output.ndim) if i != axis % output.ndim)
        dead = float((~output.any(axis=others)).mean())
    return ActivationHealth(saturated, dead, int(output.shape[axis]))
