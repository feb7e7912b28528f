"""The largest stable learning rate (docs/theory.md, Learning rate).

On a quadratic of curvature lambda an optimizer diverges beyond ``eta * lambda = edge`` (Cohen 2021,
2103.00065, for gradient descent and momentum; Cohen 2022, 2207.14484, for Adam, whose lambda is of the
Hessian preconditioned by a second moment that stands still).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from evengrad.values.probe import Method, Rate
from evengrad.values.spec import Array

RateVerdict = Literal["safe", "catapult", "diverges"]

PASSES = 10
"""Forward passes that the search for the critical rate may take (2601.16979 needs fewer than 10)."""

CATAPULT = 6.0
"""Up to so many times the edge training may catapult to a flatter region instead of diverging: 4 / lambda in
the linear model, about 12 / lambda with ReLU (Lewkowycz 2020, 2003.02218), against the edge of 2 / lambda."""

WALK = 10
"""Small steps on one batch whose lowest critical rate tells gradient descent's edge (``LaterRate.lowest``)."""

_OF_LOWEST = {"sgd": 2.75, "momentum": 1.2, "nesterov": 1.2}
"""Real edge over that lowest critical rate: the median over the development half of ``make bench-rate``
(Nesterov's, which is not in it, as heavy ball's). Of Adam, RMSprop and Adagrad the first update's critical rate
tells more: the steps are an optimizer's first ones, all of one size, and not what its averages make of them."""

_OF_CRITICAL = {
    "sgd": 0.13,
    "momentum": 0.06,
    "nesterov": 0.1,
    "adam": 3.0,
    "rmsprop": 8.0,
    "adagrad": 16.0,
}
"""Largest stable rate over the critical rate of the first update: the lower quartile over the development half
of ``make bench-rate``, so that three of four networks are stable at more. On a quadratic they would be 1, 1.9,
1.29, 19, 10 and grow without end; progressive sharpening (Cohen 2021) lowers SGD's, and Adam's first updates,
all of one sign, are no average yet."""


def edge(method: Method) -> float:
    """Rate times curvature, eta * lambda, beyond which an optimizer diverges on a quadratic.

    2 for gradient descent, 2 (1 + b) with heavy-ball momentum b, 2 (1 + b) / (1 + 2 b) with Nesterov's, and
    2 (1 + b1) / (1 - b1) for Adam, whose momentum is an average.

    Args:
        method: the optimizer.

    Returns:
        eta * lambda, without a unit.

    References:
        Cohen 2021, 2103.00065, section 2; Cohen 2022, 2207.14484; docs/theory.md, "Learning rate".
    """
    b = method.momentum
    if method.family == "adam":
        return 2 * (1 + b) / (1 - b)
    return 2 * (1 + b) / (1 + 2 * b) if method.nesterov else 2 * (1 + b)


def largest_stable(rate: Rate) -> float:
    """The learning rate at the edge: from the lowest critical rate of ``WALK`` small steps where that is known,
    else from the sharpness, else from the critical rate of the first.

    The sharpness counts for SGD alone: a second moment of one gradient has weights with next to none, and
    the Hessian preconditioned by it says nothing of training.

    Args:
        rate: what was measured along the coming update.

    Returns:
        The rate; inf where nothing bounds it.
    """
    if walked(rate):
        assert rate.later is not None
        return rate.later.lowest * _factor(_OF_LOWEST, rate.method)
    if rate.sharpness is not None and rate.method.family in ("sgd", "other"):
        return edge(rate.method) / rate.sharpness if rate.sharpness > 0 else math.inf
    return rate.critical * _factor(_OF_CRITICAL, rate.method)


def walked(rate: Rate) -> bool:
    """Whether its largest stable one is known from small steps, as of gradient descent with ``precise``."""
    steps = 0 if rate.later is None else rate.later.steps
    return rate.method.family == "sgd" and steps >= WALK


def _factor(table: Mapping[str, float], method: Method) -> float:
    """Edge over critical rate; an optimizer that is not known counts as SGD."""
    if method.family in ("adam", "rmsprop", "adagrad"):
        return table[method.family]
    if not method.momentum:
        return table["sgd"]
    return table["nesterov" if method.nesterov else "momentum"]


def verdict(rate: Rate) -> RateVerdict:
    """Of the rate in use.

    Args:
        rate: what was measured along the coming update.

    Returns:
        "safe", "catapult", or "diverges": beyond the catapult's range, and the coming step itself raises the
        loss.

    References:
        Lewkowycz 2020, 2003.02218; docs/theory.md, "Learning rate".
    """
    ratio = rate.learning_rate / largest_stable(rate)
    if ratio <= 1:
        return "safe"
    lowers = rate.learning_rate <= rate.critical
    return "catapult" if ratio <= CATAPULT or lowers else "diverges"


def first_step(weights: float, move: float, eps: float = 0.0) -> float:
    """How many coming updates the search for the critical rate begins with.

    1, or as many as move the weights by a thousandth, since of less a float32 loss shows its rounding alone.

    Args:
        weights: Euclidean norm of all that moves.
        move: Euclidean norm of its update.
        eps: of the weights' dtype, where it is coarser.

    Returns:
        The step, in coming updates.

    Raises:
        ValueError: the update is not finite or moves nothing.
    """
    if not math.isfinite(move):
        raise ValueError("the coming update is not finite")
    if move == 0.0:
        raise ValueError("the coming update moves no weight")
    return max(1.0, max(_MOVED, eps) * weights / move)


def critical_rate(
    loss: Callable[[float], float], start: float, passes: int = PASSES
) -> tuple[float, int]:
    """The smallest step along a direction that raises the loss, to a factor of 1.25 where the passes suffice.

    (loss(step) - loss(0)) / step is a straight line on a quadratic, so that the zero of a line through two of
    its points is tried; where a loss is no quadratic, exponential search and bisection of the logarithm take
    over. A loss that is not finite is raised.

    Args:
        loss: of the step.
        start: the first step to try.
        passes: forward passes that it may take.

    Returns:
        The step, inf where steps as large as 1e13 times the first raise nothing; and the passes it took.

    Raises:
        ValueError: the loss is not finite at rest.

    References:
        2601.16979 (eta_c).
    """
    at_rest = loss(0.0)
    if not math.isfinite(at_rest):
        raise ValueError(f"the loss of this batch is {at_rest}")
    search = _Bracket(at_rest, start)
    used = 1
    while used < passes and not search.close():
        used += 1
        search.tell(loss(search.coming))
    low, high = search.low[0], search.high[0]
    if math.isinf(high):
        return math.inf, used
    return (math.sqrt(low * high) if low > 0.0 else high), used


class _Bracket:
    """Where a loss rises above what it is at rest. low, high: a step with (loss - at rest) / step there."""

    def __init__(self, at_rest: float, start: float) -> None:
        self.at_rest, self.coming = at_rest, start
        self.low, self.high = (0.0, math.nan), (math.inf, math.nan)
        self._factor, self._beyond = 4.0, _NEAR
        self._sides = ""

    def close(self) -> bool:
        """Whether both ends are known, and near each other."""
        return 0.0 < self.high[0] <= _RATIO * self.low[0]

    def tell(self, value: float) -> None:
        """The loss of the coming step; the next one is chosen."""
        point = (self.coming, (value - self.at_rest) / self.coming)
        up = not _raised(value, self.at_rest)
        before = self.low if up else self.high
        if up:
            self.low = point
        else:
            self.high = point
        if self.low[0] > 0.0 and self.high[0] < math.inf:
            self._between("low" if up else "high")
        else:
            self._away(point, before, up)

    def _away(self, point: tuple[float, float], before: tuple[float, float], up: bool) -> None:
        """Beyond the one end that is known; before: the end that it was."""
        step, zero = point[0], _zero(point, before)
        told = abs(point[1] - before[1]) * min(step, before[0]) > _ROUNDING * abs(self.at_rest)
        if told and 1 / _LEAP < zero / step < _LEAP and (zero > step) == up:
            self.coming = zero * self._beyond if up else zero / self._beyond
            self._beyond *= self._beyond
        else:
            self.coming = step * self._factor if up else step / self._factor
            self._factor *= 2

    def _between(self, side: str) -> None:
        """Within both; the end that stays again and again is weighed less (the Illinois rule)."""
        self._sides = self._sides + side[0] if self._sides.endswith(side[0]) else side[0]
        weight = 0.5 ** (len(self._sides) - 1)
        (low, at_low), (high, at_high) = self.low, self.high
        if side == "low":
            at_high *= weight
        else:
            at_low *= weight
        zero = _zero((low, at_low), (high, at_high))
        if not low < zero < high or high / low > _FAR or len(self._sides) > _STUCK:
            self.coming = math.sqrt(low * high)
        elif zero < low * _NEAR:
            self.coming = low * _NEAR
        else:
            self.coming = min(zero, high / _NEAR)


def _zero(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Of the straight line through two points; NaN where there is none."""
    rise = other[1] - one[1]
    return one[0] - one[1] * (other[0] - one[0]) / rise if rise else math.nan


def largest_eigenvalue(product: Callable[[Array], Array], size: int) -> float:
    """The eigenvalue of a symmetric matrix that is largest in size, by at most 40 steps of the power method.

    Args:
        product: the matrix times a vector, (size,) -> (size,).
        size: its order.

    Returns:
        The absolute value.

    Raises:
        ArithmeticError: a product is not finite.
    """
    vector = np.random.default_rng(0).normal(size=size)
    largest = 0.0
    for _ in range(_PRODUCTS):
        norm = float(np.linalg.norm(vector))
        if not math.isfinite(norm):
            raise ArithmeticError("a product with the Hessian is not finite")
        if norm == 0.0:
            break
        unit = vector / norm
        vector = product(unit)
        value = float(unit @ vector)
        if abs(value - largest) <= _CLOSE * abs(value):
            return abs(value)
        largest = value
    return abs(largest)


_PRODUCTS, _CLOSE = 40, 1e-3
_MOVED = 1e-3
_RATIO = 1.25  # how near the ends of the search are to be
_NEAR = 1.2  # from the one end: a step there closes the search where it is on the other side
_FAR = 8.0  # ends so far apart are no quadratic's
_STUCK = 2  # moves of the same end, one after the other, before the interval is halved
_LEAP = 1e3  # farther than so many times a step no line through two points is trusted
_ROUNDING = 1e-5  # of a float32 loss, some hundred times


def _raised(value: float, at_rest: float) -> bool:
    return not math.isfinite(value) or value > at_rest
