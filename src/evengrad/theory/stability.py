"""The largest stable learning rate (docs/theory.md, Learning rate).

On a quadratic of curvature lambda an optimizer diverges beyond ``eta * lambda = edge`` (Cohen 2021,
2103.00065, for gradient descent and momentum; Cohen 2022, 2207.14484, for Adam, whose lambda is of the
Hessian preconditioned by a second moment that stands still).
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
    """The learning rate at the edge, from the sharpness where it is known, else from the critical rate.

    The sharpness counts for SGD alone: a second moment of one gradient has weights with next to none, and
    the Hessian preconditioned by it says nothing of training.

    Args:
        rate: what was measured along the coming update.

    Returns:
        The rate; inf where nothing bounds it.
    """
    if rate.sharpness is not None and rate.method.family in ("sgd", "other"):
        return edge(rate.method) / rate.sharpness if rate.sharpness > 0 else math.inf
    return rate.critical * _of_critical(rate.method)


def _of_critical(method: Method) -> float:
    """Edge over critical rate; an optimizer that is not known counts as SGD."""
    if method.family in ("adam", "rmsprop", "adagrad"):
        return _OF_CRITICAL[method.family]
    if not method.momentum:
        return _OF_CRITICAL["sgd"]
    return _OF_CRITICAL["nesterov" if method.nesterov else "momentum"]


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
    """The smallest step along a direction that raises the loss, by exponential search, then bisection of the
    logarithm.

    A loss that is not finite is raised.

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
    used, low, high = 1, 0.0, math.inf
    step, factor = start, 4.0
    while used < passes and (low == 0.0 or math.isinf(high)):
        used += 1
        if _raised(loss(step), at_rest):
            high = step
        else:
            low = step
        if low == 0.0:
            step, factor = step / factor, factor * 2
        elif math.isinf(high):
            step, factor = step * factor, factor * 2
    while used < passes and low > 0.0 and math.isfinite(high) and high / low > 1.1:
        step = math.sqrt(low * high)
        used += 1
        if _raised(loss(step), at_rest):
            high = step
        else:
            low = step
    if math.isinf(high):
        return math.inf, used
    return (math.sqrt(low * high) if low > 0.0 else high), used


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


def _raised(value: float, at_rest: float) -> bool:
    return not math.isfinite(value) or value > at_rest
