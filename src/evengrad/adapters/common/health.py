"""Saturated elements and dead units of an activation's output, alike for every framework."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """Where an activation's elements are saturated, and whether its units can die.

    Attributes:
        low: at most this is saturated; None for no such end.
        high: at least this is; None where nothing saturates.
        zero: units can die.
    """

    low: float | None
    high: float | None
    zero: bool


def health_limits(
    name: str, shape: Sequence[int], flat: tuple[float, float] | None = None
) -> HealthLimits | None:
    """What to look for in an activation's output. Arguments as in ``activation_health``, which see.

    Returns:
        None for what does not act on each element alone.
    """
    name = canonical(name)
    if name in _NOT_ELEMENTWISE or len(shape) < 2 or math.prod(shape) == 0:
        return None
    zero = name in _ZERO_REGION
    if name not in _FLAT:
        return HealthLimits(None, None, zero)
    low, high = _FLAT[name] if flat is None or zero else flat
    return HealthLimits(low, high, zero)


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
    limits = health_limits(name, output.shape, flat)
    if limits is None:
        return None
    saturated = dead = 0.0
    if limits.high is not None:
        ends = output >= limits.high
        if limits.low is not None:
            ends |= output <= limits.low
        saturated = float(ends.mean())
    if limits.zero:
        others = tuple(i for i in range(output.ndim) if i != axis % output.ndim)
        dead = float((~output.any(axis=others)).mean())
    return ActivationHealth(saturated, dead, int(output.shape[axis]))
