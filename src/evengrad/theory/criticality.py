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
from evengrad.theory.shaping import SMOOTH, coefficients, scales
from evengrad.values.spec import Array


class Critical(NamedTuple):
    """Weights and biases: ``Var W = gain^2 / fan_in``, ``Var b = bias^2``. square: the q that stands still."""

    gain: float
    bias: float
    square: float


def _flat(a: Array) -> Array:
    """1 - dQ/dq where C'(1) = 1, by E[f f'']."""
    n: Array = np.arange(a.shape[-1], dtype=float)
    steeper = (np.sqrt(n[1:-1] * n[2:]) * a[..., :-2] * a[..., 2:]).sum(axis=-1)
    return np.asarray(-steeper / (n * a**2).sum(axis=-1))


@cache
def critical(name: str, depth: int, forgotten: float = 1.0) -> Critical | None:
    """The critical network that is as nonlinear as its depth allows: where ``1 - dQ/dq = forgotten / depth``.

    Q maps a layer's mean square to the next one's. Where it is flatter than that, inputs of all sizes have the
    same at the end: of a delta-orthogonal network, whose places are alone, little but signs is left.

    Args:
        name: of the activation.
        depth: activations on the way from input to output, in one line.
        forgotten: the log of the factor by which all layers bring a mean square nearer to q.

    Returns:
        sigma_w, sigma_b and q; None where the activation is not smooth or has no such network (``edge``).

    References:
        Xiao 2018, 1806.05393 (delta-orthogonal weights, 10,000 layers; xi_q, the depth to which a mean square
        is remembered, section 2.1).
    """
    name = canonical(name)
    if name not in SMOOTH:
        return None
    (root,) = scales(FUNCTIONS[name], np.zeros(1), _flat, forgotten / depth)
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
    stable = float(_flat(a)) >= 0
    return Critical(gain, math.sqrt(bias), square) if bias >= 0 and stable else None
