"""Activations shaped to a network's depth: ``gamma (phi(alpha z + beta) + delta)`` (docs/depth.md).

A layer maps the mean square of its input to Q(q) and the cosine between two inputs to C(c). With weights of
variance 1 / fan_in, no biases and Q(1) = 1, over z ~ N(0, 1) and for the shaped activation f

    C(0) = E[f]^2,  C'(1) = E[f'^2],  C''(1) = E[f''^2],  Q'(1) = E[f f' z].

All follow from the Hermite coefficients a_n of f, as E[f'^2] = sum n a_n^2, so that no difference is taken of
figures that depth makes nearly equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evengrad.theory.activations import FUNCTIONS, ActivationFunction, canonical
from evengrad.values.spec import Array

SMOOTH = ("tanh", "sigmoid", "softplus", "gelu", "gelu_tanh", "silu", "mish")
"""With a second derivative everywhere, which the conditions need."""

SLOPE = 1.5  # zeta, the slope of the whole network's C at 1 (Martens 2021)
CURVATURE = 0.3  # tau, its curvature there (Zhang 2022)
COSINE = 0.9  # eta, what a network of leaky rectifiers makes of the cosine 0 (Zhang 2022)


class Shaping(NamedTuple):
    """``output_scale * (phi(input_scale * x + input_shift) + output_shift)``: alpha, beta, gamma, delta."""

    input_scale: float
    input_shift: float
    output_scale: float
    output_shift: float

    def of(self, phi: ActivationFunction) -> ActivationFunction:
        """The shaped activation."""
        alpha, beta, gamma, delta = self
        return lambda z: gamma * (phi(alpha * z + beta) + delta)


@cache
def deep_kernel(name: str, depth: int, slope: float = SLOPE) -> Shaping | None:
    """Deep kernel shaping: Q(1) = Q'(1) = 1, C(0) = 0 and C'(1) = slope^(1 / depth).

    Args:
        name: of the activation.
        depth: activations on the way from input to output, in one line.
        slope: C'(1) of the whole network, more than 1.

    Returns:
        alpha, beta, gamma and delta; None where the activation is not known as smooth, or cannot be made as
        nonlinear as so few layers need.

    References:
        Martens 2021, 2110.01765 (DKS), sections 10 and 11.
    """
    excess = math.expm1(math.log(slope) / depth)
    return _shaped(name, _Conditions(_bent, _even_kernel, _centred), excess)


@cache
def tailored(name: str, depth: int, curvature: float = CURVATURE) -> Shaping | None:
    """Tailored activation transformation: Q(1) = Q'(1) = C'(1) = 1 and C''(1) = curvature / depth.

    Args:
        name: of the activation.
        depth: activations on the way from input to output, in one line.
        curvature: C''(1) of the whole network.

    Returns:
        As ``deep_kernel``.

    References:
        Zhang, Botev and Martens 2022, 2203.08120 (TAT), section 4.2.
    """
    return _shaped(name, _Conditions(curved, _even_tailored, _isometric), curvature / depth)


def tailored_slope(depth: int) -> float:
    """The slope below zero with which ``depth`` leaky rectifiers map a cosine of 0 to 0.9 (1 cannot: then 0).

    Args:
        depth: activations on the way from input to output, in one line.

    Returns:
        The slope, 0 to 1.

    References:
        Zhang, Botev and Martens 2022, 2203.08120 (TAT), section 4.1.
    """
    low, high = 0.0, 1.0
    if cosine_after(depth, low) <= COSINE:
        return low
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if cosine_after(depth, middle) > COSINE else (low, middle)
    return high


def cosine_after(depth: int, slope: float) -> float:
    """The cosine between two wide networks' outputs for inputs at a right angle: the map
    ``c + (1 - a)^2 (sqrt(1 - c^2) - c arccos c) / (pi (1 + a^2))`` of one layer, ``depth`` times.

    Args:
        depth: leaky rectifiers on the way.
        slope: of their side below zero, a.

    Returns:
        The cosine, 0 to 1.

    References:
        Zhang, Botev and Martens 2022, 2203.08120, section 4.1.
    """
    c = 0.0
    share = (1 - slope) ** 2 / (math.pi * (1 + slope**2))
    for _ in range(depth):
        c = min(c + share * (math.sqrt(1 - c * c) - c * math.acos(c)), 1.0)
    return c


class _Conditions(NamedTuple):
    """nonlinearity: of the coefficients, to be reached; even: zero where Q'(1) = 1; scaled: gamma and the
    mean that the activation is to have before it.
    """

    nonlinearity: Callable[[Array], Array]
    even: Callable[[Array], Array]
    scaled: Callable[[Array], tuple[float, float]]


def _bent(a: Array) -> Array:
    """C'(1) - 1 behind a centred activation: sum (n - 1) a_n^2 over sum a_n^2, n from 1."""
    return _sum(a, _N - 1, 1) / _sum(a, _ONE, 1)


def _even_kernel(a: Array) -> Array:
    """Q'(1) - 1 behind a centred activation."""
    return _bent(a) + _product(a) / _sum(a, _ONE, 1)


def _centred(a: Array) -> tuple[float, float]:
    return 1 / math.sqrt(float(_sum(a, _ONE, 1))), 0.0


def curved(a: Array) -> Array:
    """C''(1) where C'(1) = 1.

    Args:
        a: Hermite coefficients, (..., order).

    Returns:
        sum n (n - 1) a_n^2 over sum n a_n^2, (...).
    """
    return _sum(a, _N * (_N - 1), 2) / _sum(a, _N, 1)


def _even_tailored(a: Array) -> Array:
    """Q'(1) - 1 where C'(1) = 1: E[f f''], the mean of f being that which makes Q(1) = 1."""
    return (_product(a) + _mean(a) * math.sqrt(2) * a[..., 2]) / _sum(a, _N, 1)


def _isometric(a: Array) -> tuple[float, float]:
    return 1 / math.sqrt(float(_sum(a, _N, 1))), float(_mean(a))


def _mean(a: Array) -> Array:
    """E[f] that makes E[f^2] = E[f'^2]; of the sign that E[f f''] = 0 needs."""
    found: Array = -np.sign(_product(a) * a[..., 2]) * np.sqrt(_sum(a, _N - 1, 2))
    return found


def _product(a: Array) -> Array:
    """E[(f - E f) f'']."""
    n = _N[1:-2]
    return np.asarray((np.sqrt((n + 1) * (n + 2)) * a[..., 1:-2] * a[..., 3:]).sum(axis=-1))


def _sum(a: Array, by: Array, first: int) -> Array:
    return np.asarray((by * a**2)[..., first:].sum(axis=-1))


_ORDER, _POINTS, _REACH = 64, 240, 12.0
_N = np.arange(_ORDER, dtype=float)
_ONE = np.ones(_ORDER)


@cache
def _rule() -> tuple[Array, Array]:
    """Nodes, and what takes values there to Hermite coefficients, (nodes, order)."""
    z, weights = np.polynomial.legendre.leggauss(_POINTS)
    z = _REACH * z
    root = np.exp(-(z**2) / 4) / (2 * math.pi) ** 0.25
    rows = [root, z * root]
    for n in range(1, _ORDER - 1):
        rows.append((z * rows[n] - math.sqrt(n) * rows[n - 1]) / math.sqrt(n + 1))
    return z, (np.array(rows) * root * weights * _REACH).T


def coefficients(phi: ActivationFunction, alpha: Array, beta: Array) -> Array:
    """Hermite coefficients of ``phi(alpha z + beta)``, of normalised polynomials.

    Args:
        phi: the activation.
        alpha: scales, (count,).
        beta: shifts, (count,).

    Returns:
        (count, order).
    """
    z, take = _rule()
    with np.errstate(invalid="ignore"):  # a scale that is not known is NaN
        return np.asarray(phi(alpha[:, None] * z + beta[:, None]) @ take)


_SHIFTS = np.linspace(-2.0, 2.0, 81)
_LOGS = np.linspace(-12.0, 1.5, 28)  # of alpha
_HALVINGS = 40
_CLOSE = (
    1e-6  # of Q'(1) to 1, as a part of the nonlinearity: an error that jumps over 0 is no solution
)


def _shaped(name: str, conditions: _Conditions, target: float) -> Shaping | None:
    """The shift that is nearest to 0 where the error changes its sign, with the scale that belongs to it."""
    if (name := canonical(name)) not in SMOOTH:
        return None
    phi = FUNCTIONS[name]

    def about(shifts: Array) -> tuple[Array, Array]:
        alpha = scales(phi, shifts, conditions.nonlinearity, target)
        return alpha, coefficients(phi, alpha, shifts)

    error = conditions.even(about(_SHIFTS)[1]) / target
    crossed = np.flatnonzero(error[:-1] * error[1:] <= 0)
    for i in sorted(crossed, key=lambda i: (abs(_SHIFTS[i] + _SHIFTS[i + 1]), -i)):
        low, high = _SHIFTS[i : i + 2]
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            there = float(conditions.even(about(np.array([middle]))[1])[0])
            low, high = (middle, high) if there * error[i] > 0 else (low, middle)
        alpha, a = about(np.array([high]))
        if abs(float(conditions.even(a)[0])) < _CLOSE * target:
            gamma, mean = conditions.scaled(a[0])
            return Shaping(float(alpha[0]), float(high), gamma, mean - float(a[0, 0]))
    return None


def scales(
    phi: ActivationFunction, shifts: Array, nonlinearity: Callable[[Array], Array], target: float
) -> Array:
    """The least alpha with which phi is so nonlinear about each shift.

    Args:
        phi: the activation.
        shifts: beta, (count,).
        nonlinearity: of Hermite coefficients.
        target: what it is to be.

    Returns:
        (count,), NaN where no alpha is enough.
    """

    def reached(logs: Array) -> npt.NDArray[np.bool_]:
        return nonlinearity(coefficients(phi, np.exp(logs), shifts)) >= target

    above = np.array([reached(np.full_like(shifts, log)) for log in _LOGS])
    first = above.argmax(axis=0)
    low, high = _LOGS[np.maximum(first - 1, 0)], _LOGS[first]
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        over = reached(middle)
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    return np.where(above.any(axis=0) & (first > 0), np.exp(high), math.nan)
