"""What a loss scaler does, and whether an overflow under it is normal."""

from __future__ import annotations

import math
from typing import Literal


def calibration(scale: float, largest: float = 1.0, limit: float = 65504.0) -> int:
    """How many skips at the start are the loss scaler's own search: ceil(log2(scale * max|g| / limit)), at
    least 0; docs/theory.md, Precision. limit: of float16. largest: max|g| of the unscaled gradients.
    """
    return max(0, math.ceil(math.log2(max(scale * largest / limit, 1e-30))))


ScalerVerdict = Literal["calibrating", "normal", "overflow"]


class ScalerWatch:
    """Tells a loss scaler's normal skips from real overflow (docs/theory.md, Precision).

    A scaler that starts at 2^16 skips ceil(log2(65536 max|g| / 65504)) steps until it fits, and then at most
    one in growth_interval + 1. More than that, or a scale below 1, is real overflow.
    """

    def __init__(self, growth_interval: int = 2000) -> None:
        self.interval = growth_interval
        self.fits = False  # a step has gone through since the start
        self.skips: list[int] = []
        self.first: float | None = None
        self._later: list[int] = []  # skips that are not of the search for the first scale

    def step(self, step: int, scale: float, skipped: bool) -> ScalerVerdict | None:
        """After a step under a scaler. Returns a verdict where it skipped, else None."""
        self.first = scale if self.first is None else self.first
        if not skipped:
            self.fits = True
            return None
        self.skips.append(step)
        if scale < 1:
            return "overflow"
        if not self.fits:
            return "calibrating"
        self._later.append(step)
        since = [s for s in self._later if s > step - self.interval]
        # The scaler doubles after `interval` good steps and takes that back at once: one skip. A second in
        # the same interval happens when the gradients grow by more than 2.
        return "normal" if len(since) <= 2 else "overflow"
