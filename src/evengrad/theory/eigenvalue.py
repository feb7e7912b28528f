"""The largest eigenvalue of a symmetric operator that is known by its products with vectors alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

_PRODUCTS, _CLOSE, _SETTLED = 40, 1e-3, 3


def largest_eigenvalue(product: Callable[[Vector], Vector], size: int, seed: int = 0) -> float:
    """The largest by value, not by magnitude: at a saddle the most negative one may be the bigger.

    Power iteration with the Krylov space that it passes through (Lanczos 1950, three vectors kept), from
    a random start, at most 40 products; done when the value has stood still to 1e-3 three times over.
    Raises ArithmeticError where a product is not finite.
    """
    vector: Vector = np.random.default_rng(seed).standard_normal(size)
    vector /= np.linalg.norm(vector)
    before: Vector = np.zeros(size)
    diagonal: list[float] = []
    beside: list[float] = []
    largest, still = -math.inf, 0
    for _ in range(min(_PRODUCTS, size)):
        found = product(vector)
        diagonal.append(float(found @ vector))
        if not math.isfinite(diagonal[-1]):
            raise ArithmeticError("a Hessian-vector product is not finite")
        value = _largest(diagonal, beside)
        still = still + 1 if abs(value - largest) <= _CLOSE * abs(value) else 0
        largest = value
        rest = found - diagonal[-1] * vector - (beside[-1] * before if beside else 0.0)
        length = float(np.linalg.norm(rest))
        if still >= _SETTLED or length <= 1e-7 * float(np.linalg.norm(found)):
            break
        beside.append(length)
        before, vector = vector, rest / length
    return largest


def _largest(diagonal: list[float], beside: list[float]) -> float:
    """Of the symmetric tridiagonal matrix."""
    matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    return float(np.linalg.eigvalsh(matrix)[-1])
