"""How unevenly softmax shares out: sums of powers of its weights, the logits independent Gaussians.

With S = sum(e^l), ``1 / S^m = int t^(m-1) e^(-t S) dt / Gamma(m)``, so that the expectation over all n logits
falls apart into expectations over one of them:
``E[sum a^2] = n int t E[e^2l e^(-t e^l)] E[e^(-t e^l)]^(n-1) dt``.
Exact for any variance and any n.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from evengrad.theory.gaussian import NODES, WEIGHTS
from evengrad.values.spec import Array

_STEP = 0.25  # of log t, and of the logits at most
_WIDEST = 15.0  # standard deviation of the logits: beyond, what the largest leaves to the others goes by 1 / sd
_ROWS = 12  # of a causal mask
_FLAT = 1e-4  # variance: below, all weights are alike to four digits


@lru_cache(maxsize=4096)
def _powers(variance: float, count: float) -> tuple[float, float]:
    deviation = math.sqrt(variance)
    stride = int(min(max(_STEP / (deviation * (NODES[1] - NODES[0])), 1), 20))
    logits, weights = deviation * NODES[::stride], WEIGHTS[::stride] / WEIGHTS[::stride].sum()
    reach = 8 * deviation + math.log(count)
    u: Array = np.arange(-reach - 10, 8 * deviation + 5, _STEP)  # log t
    v = np.minimum(u[:, None] + logits, 50.0)
    left = np.exp(-np.exp(v))
    none, second, third, fourth = (
        (np.exp(m * v) * left if m else left) @ weights for m in (0, 2, 3, 4)
    )
    rest = none ** max(count - 1, 0.0)
    others = none ** max(count - 2, 0.0)
    squares = count * float(np.sum(second * rest)) * _STEP
    cubes = count * float(np.sum(third * rest)) * _STEP / 2
    pairs = count * float(np.sum(fourth * rest)) + count * (count - 1) * float(
        np.sum(second**2 * others)
    )
    return squares, squares - 2 * cubes + pairs * _STEP / 6


def squares(variance: float, count: float) -> float:
    """E[sum a^2] of softmax over so many logits of that variance: 1 / count to 1."""
    if not variance > _FLAT or count <= 1:
        return 1 / max(count, 1.0)
    near, beyond = _within(variance)
    return 1 - min(max(1 - _powers(near, float(count))[0], 0.0), 1 - 1 / count) * beyond


def passed(variance: float, count: float) -> float:
    """E[sum (a_i (d_i - sum a_j d_j))^2] over E[sum a^2], of independent d of variance 1: what softmax' slope
    leaves of a gradient, besides the weights themselves. 1 - 1 / count where they are alike.
    """
    if count <= 1:
        return 0.0
    if not variance > _FLAT:
        return 1 - 1 / count
    near, beyond = _within(variance)
    found, left = _powers(near, float(count))
    return min(max(left / found, 0.0), 1.0) * beyond


def causal_squares(variance: float, tokens: int) -> float:
    """``squares`` under a causal mask, where row i has i logits: the mean over rows."""
    return _causal(_within(variance)[0], tokens)[0] if variance > _FLAT else _harmonic(tokens)


def causal_passed(variance: float, tokens: int) -> float:
    """``passed`` under a causal mask: of all rows together."""
    near, beyond = _within(max(variance, 0.0))
    return _causal(near, tokens)[1] * beyond


def _harmonic(tokens: int) -> float:
    return sum(1 / i for i in range(1, tokens + 1)) / tokens


@lru_cache(maxsize=1024)
def _causal(variance: float, tokens: int) -> tuple[float, float]:
    """By some rows, more of them at the short end, times the rows' own 1 / i."""
    rows = np.unique(np.geomspace(1, tokens, min(tokens, _ROWS)).round())
    found = np.array([squares(variance, i) for i in rows])
    left = found * [passed(variance, i) for i in rows]
    every = np.arange(1, tokens + 1)
    whole, after = (
        np.interp(np.log(every), np.log(rows), line * rows) / every for line in (found, left)
    )
    return float(whole.mean()), float(after.sum() / whole.sum())


def _within(variance: float) -> tuple[float, float]:
    """The variance as far as it is integrated, to a thousandth for the cache; and the factor beyond."""
    if variance <= _WIDEST**2:
        return float(f"{variance:.3e}"), 1.0
    return _WIDEST**2, _WIDEST / math.sqrt(variance)
