"""Whether a training learns, by its losses alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Literal

Verdict = Literal["learns", "learns little", "stands still", "worse than constant", "not finite"]

_LAST, _BLOCK = 12, 3
_CLEAR, _SURE, _FEW = 0.9, 3.0, 1e-3


def judge(losses: Sequence[float], constant: float, *, final: bool) -> Verdict | None:
    """Compare the last losses with those of the best constant answer.

    It learns where their mean is below nine tenths of that, and below it by three standard errors (of blocks of
    three, that neighbours are alike counts less). None: not clear yet.
    """
    if not all(math.isfinite(loss) for loss in losses):
        return "not finite"
    last = losses[-_LAST:]
    blocks = [mean(last[i : i + _BLOCK]) for i in range(0, len(last), _BLOCK)]
    error = max(stdev(blocks) / math.sqrt(len(blocks)), _FEW)
    below = (constant - mean(last)) / error
    if below > _SURE and mean(last) < _CLEAR * constant:
        return "learns"
    if not final:
        return None
    if below > _SURE:
        return "learns little"
    return "worse than constant" if mean(last) > 1.1 * constant else "stands still"
