"""Which planted trainings are sick, by their own losses alone."""

from __future__ import annotations

import math

WORSE = 1.5
LEARNT = 0.8


def learns(loss: float, baseline: float) -> bool:
    """Whether the healthy twin is one: well below the best constant answer."""
    return math.isfinite(loss) and loss < LEARNT * baseline


def sick(loss: float, twin: float) -> bool:
    """Not finite at its end, or clearly worse than the same training with nothing planted."""
    return not math.isfinite(loss) or loss > WORSE * twin
