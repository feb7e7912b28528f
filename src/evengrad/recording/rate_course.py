"""How a training's learning rate and loss went, to say at its end whether the rate was gone too early."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from evengrad.values.run import Step

_MOST = 4096  # rows; beyond, every second one is let go
_GONE = 0.01  # of the highest rate: what is left moves a hundredth as far
_ALIVE = 0.3  # of the highest rate
_SHARE = 0.5  # of the steps, made after the rate was gone
_LEAST = 20
_FEW = 5
_FALLEN = 0.9  # of the first losses: above, nothing has been learnt
_BRIEF = 50  # steps within which hardly any training comes to its end
_HIGH = 0.5  # of the first losses: a loss above that has not been learnt
_MORE = 0.2  # of the last losses: what the lost steps would have brought at the pace of before


class RateCourse:
    """Fed with every step."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, float, float]] = []
        self._stride = 1

    def note(self, step: Step) -> None:
        """One more."""
        if step.step % self._stride == 0 and step.applied:
            self._rows.append((step.step, step.rate, step.loss))
            if len(self._rows) >= _MOST:
                self._rows = self._rows[::2]
                self._stride *= 2

    def failed(self) -> bool:
        """Whether the loss ends where it began, or above, or is not finite."""
        losses = np.array([loss for _, _, loss in self._rows], dtype=np.float64)
        if len(losses) < 2 * _FEW or not np.isfinite(losses).any():
            return False
        if not np.isfinite(losses[-_FEW:]).all():
            return True
        first, last = losses[:_FEW], losses[-max(len(losses) // 4, _FEW) :]
        return float(np.mean(last)) > _FALLEN * float(np.mean(first)) > 0

    def gone(self) -> dict[str, Any] | None:
        """Figures of a rate that fell below a hundredth of its peak, for good, before half of the steps were
        made and while the loss was still high or falling; of one that was 0 throughout; None else.

        A loss was still falling where the steps before, at 30% of the peak or more, surely lowered it, and at
        that pace the others would have lowered it by a fifth more. The hundredth, the half, the 30% and the
        fifth are measured choices.
        """
        if len(self._rows) < _LEAST:
            return None
        steps, rates, losses = (
            np.array(column, dtype=np.float64) for column in zip(*self._rows, strict=True)
        )
        peak = float(np.nanmax(rates)) if np.isfinite(rates).any() else math.nan
        if peak == 0.0:
            return {"zero": True, "peak": 0.0, "now": 0.0, "steps": int(steps[-1]) + 1}
        low = rates < _GONE * peak
        first = len(low) - int(np.argmin(low[::-1])) if low[-1] and not low.all() else len(low)
        after = len(low) - first
        if not peak > 0 or after < _SHARE * len(low):
            return None
        alive = (rates >= _ALIVE * peak) & np.isfinite(losses)
        if not _unfinished(losses[alive], losses[np.isfinite(losses)], after):
            return None
        return {
            "zero": False,
            "peak": peak,
            "now": float(rates[-1]),
            "since": int(steps[first]),
            "steps": int(steps[-1]) + 1,
            "loss": float(np.mean(losses[-max(len(losses) // 4, 5) :])),
            "first_loss": float(np.mean(losses[:5])),
        }


def _unfinished(alive: Any, losses: Any, after: int) -> bool:
    """alive: losses while the rate was high. after: steps made without one."""
    if len(losses) < _LEAST:
        return False
    last = float(np.mean(losses[-max(len(losses) // 4, 5) :]))
    if len(alive) < _BRIEF and last > _HIGH * float(np.mean(losses[:5])) > 0:
        return True
    if len(alive) < 4:
        return False
    half = len(alive) // 2
    before, behind = alive[-2 * half : -half], alive[-half:]
    fall = float(np.mean(before) - np.mean(behind))
    error = math.hypot(float(np.std(before)), float(np.std(behind))) / math.sqrt(half)
    return fall > 2.33 * error and fall / half * after > _MORE * abs(last)
