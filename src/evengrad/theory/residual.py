"""How residual branches make a gradient grow with depth, and the scale that keeps it (docs/depth.md).

A block ``x + a f(x)`` with a branch that multiplies energies by g multiplies them by 1 + a^2 g.
"""

from __future__ import annotations

import math

DEPTH_MUP = 0.5
"""a = L^-1/2: the sum stays of one size and each branch learns something (Yang 2023, 2310.02244)."""
COMPLETE_P = 1.0
"""a = L^-1: the branches are learned at one rate whatever the depth (Dey 2025, 2505.01618)."""


def branch_scale(blocks: int, power: float) -> float:
    """The factor of each branch, L^-power.

    Args:
        blocks: L, on the way from input to output.
        power: 1/2 or 1.

    Returns:
        a.

    References:
        Yang 2023, 2310.02244 (depth-muP); Dey 2025, 2505.01618 (CompleteP).
    """
    return math.exp(-power * math.log(blocks))


def grown(blocks: int, branch: float, scale: float = 1.0) -> float:
    """The log of the factor by which the gradient's energy grows over all blocks.

    Args:
        blocks: L.
        branch: g, energy behind a branch over energy before it.
        scale: a.

    Returns:
        L log(1 + a^2 g): L log 2 for a plain network with g = 1, at most g with a = L^-1/2, g / L with L^-1.

    References:
        docs/theory.md, "Closed forms".
    """
    return blocks * math.log1p(scale**2 * branch)


def least_power(blocks: int, branch: float, most: float) -> float:
    """The smaller of the two powers with which the growth stays small.

    Args:
        blocks: L.
        branch: g.
        most: of the log of the energy's growth.

    Returns:
        1/2, or 1 where the former lets it grow by more.

    References:
        As ``branch_scale``.
    """
    half = grown(blocks, branch, branch_scale(blocks, DEPTH_MUP))
    return DEPTH_MUP if half <= most else COMPLETE_P
