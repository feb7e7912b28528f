"""Weights at the edge of chaos: neither do two inputs become one, nor do neighbours part (docs/depth.md).

With Var W = sigma_w^2 / fan_in and Var b = sigma_b^2 the mean square of a layer's inputs goes by
``q' = sigma_w^2 E[phi(sqrt(q) z)^2] + sigma_b^2`` and the gradient's energy by the factor
``chi = sigma_w^2 E[phi'(sqrt(q) z)^2]``. Where q stands still and chi = 1 the network is critical: one network
for each q (Schoenholz 2017, 1611.01232).
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from evengrad.theory.activations import FUNCTIONS, canonical
from evengrad.theory.shaping import CURVATURE, SMOOTH, coefficients, curved, scales
from evengrad.values.spec import Array


class Critical(NamedTuple):
    """Weights and biases: ``Var W = gain^2 / fan_in``, ``Var b = bias^2``. square: the q that stands still."""

    gain: float
    bias: float
    square: float


@cache
def critical(name: str, depth: int, curvature: float = CURVATURE) -> Critical | None:
    """The critical network that is as nonlinear as its depth allows: where ``C''(1) = curvature / depth``.

    C maps the cosine between two inputs through one layer, as in ``shaping``. A network at q = 1 makes all
    inputs alike within some dozen layers; at this q it keeps them apart to its end.

    Args:
        name: of the activation.
        depth: activations on the way from input to output, in one line.
        curvature: C''(1) of the whole network.

    Returns:
        sigma_w, sigma_b and q; None where the activation is not smooth or has no such network (``edge``).

    References:
        Xiao 2018, 1806.05393 (delta-orthogonal weights, 10,000 layers); the condition is that of Zhang 2022,
        2203.08120.
    """
    name = canonical(name)
    if name not in SMOOTH:
        return None
    (root,) = scales(FUNCTIONS[name], np.zeros(1), curved, curvature / depth)
    return None if math.isnan(root) else edge(name, float(root) ** 2)


def edge(name: str, square: float) -> Critical | None:
    """The critical network in which q stands still at ``square``.

    Args:
        name: of the activation.
        square: q.

    Returns:
        sigma_w, sigma_b and q; None where sigma_b^2 would be negative, or where q runs away from there (GELU,
        SiLU: its map is steeper than 1).

    References:
        Schoenholz 2017, 1611.01232, section 3.
    """
    phi = FUNCTIONS[canonical(name)]
    a = coefficients(phi, np.array([math.sqrt(square)]), np.zeros(1))[0]
    n: Array = np.arange(len(a), dtype=float)
    slope = float((n * a**2).sum())  # q E[phi'^2]
    gain = math.sqrt(square / slope)
    bias = (
        square * float(((n - 1) * a**2).sum()) / slope
    )  # sigma_b^2, with no difference of near equals
    steeper = float((np.sqrt(n[1:-1] * n[2:]) * a[:-2] * a[2:]).sum())  # dQ/dq - 1, by E[f f'']
    return Critical(gain, math.sqrt(bias), square) if bias >= 0 and steeper <= 0 else None
