"""Expectations of functions of jointly Gaussian variables, on one grid of standard normal quantiles.

A function f is the array of its values at ``NODES``. For (u, v) standard normal with correlation rho,
``E[f(u) f(v)] = sum_k a_k^2 rho^k`` with the Hermite coefficients a_k of f (Daniely 2016, 1602.05897).
"""

from __future__ import annotations

import numpy as np

from evengrad.values.spec import Array

_REACH, _COUNT, _ORDER = (
    8.0,
    2000,
    60,
)  # an even count: zero, where most kinks are, lies between nodes

NODES: Array = np.linspace(-_REACH, _REACH, _COUNT)
WEIGHTS: Array = np.exp(-(NODES**2) / 2)
WEIGHTS /= WEIGHTS.sum()


def _hermite() -> Array:
    """Normalised Hermite polynomials, (order, node), times the weights."""
    rows = [np.ones_like(NODES), NODES.copy()]
    for k in range(1, _ORDER - 1):
        rows.append((NODES * rows[k] - np.sqrt(k) * rows[k - 1]) / np.sqrt(k + 1))
    found: Array = np.array(rows) * WEIGHTS
    return found


_HERMITE = _hermite()


def expect(values: Array) -> Array:
    """E[f(z)], over the last axis."""
    found: Array = values @ WEIGHTS
    return found


def dual(values: Array, rho: Array) -> Array:
    """E[f(u) f(v)] of standard normal u and v for every correlation, by Hermite series.

    What the series of 60 terms leaves of E[f^2] counts at |rho| near 1 only.

    Args:
        values: f at the quantiles, (parts, nodes).
        rho: correlations, (parts, ...), -1 to 1.

    Returns:
        Of the shape of rho.

    References:
        Daniely 2016, 1602.05897 (dual activations).
    """
    squares = (values @ _HERMITE.T) ** 2
    rest = np.maximum(expect(values**2) - squares.sum(axis=1), 0.0)
    flat = rho.reshape(len(rho), -1)
    powers = np.empty((*flat.shape, _ORDER))
    powers[..., 0] = 1.0
    powers[..., 1:] = flat[..., None]
    np.multiply.accumulate(powers, axis=-1, out=powers)
    found: Array = (powers @ squares[..., None])[..., 0]
    found += rest[:, None] * np.abs(flat) ** (2 * _ORDER)
    return found.reshape((len(found), *rho.shape[1:]))
