"""How well a training trains: how far its loss comes on the way from the constant answer to the reference's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from evengrad.fixing.outcome import Attempt
from evengrad.fixing.trial import Result

MARGIN = 0.9
"""A cure comes so far on the way that the reference comes: a measured choice, as is ``HELD_BACK``."""
HELD_BACK = 0.5
"""A training that comes less far is held back, even where it learns."""
PROVED = 0.8
"""So far it must come with another seed, over the script's own length: seeds differ."""
_FIRST = 4


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The way from one loss to another.

    Attributes:
        start: the constant baseline; where there is none, what the reference began with.
        goal: where the reference was at the end of the budget.
    """

    start: float
    goal: float

    def share(self, level: float) -> float:
        """How far a loss is on the way: 0 at the start, 1 at the goal; minus infinity if it is not finite."""
        if not math.isfinite(level):
            return -math.inf
        return (self.start - level) / (self.start - self.goal)

    def level(self, share: float) -> float:
        """The loss that is so far on the way."""
        return self.start + share * (self.goal - self.start)


def yardstick(reference: Attempt) -> Yardstick | None:
    """What others are measured by; None where the reference itself does not train."""
    start = _start(reference.result)
    if not reference.verdict.good or not start > reference.verdict.level:
        return None
    return Yardstick(start, reference.verdict.level)


def is_plain_success(attempt: Attempt, left: float = HELD_BACK) -> bool:
    """Whether a training has come so far that no reference need be asked: more than half of the way from the
    constant baseline to 0, below which no such loss goes; or all of it but the share ``left``.
    """
    baseline, floor = attempt.result.baseline, attempt.result.floor
    if baseline is None or floor is None:
        return False
    return attempt.verdict.good and attempt.verdict.level < baseline * left


def by_rank(attempts: Iterable[Attempt], measure: Yardstick | None) -> list[Attempt]:
    """Those that learn, best first; among those within the margin of the best one the least invasive first."""
    good = [a for a in attempts if a.verdict.good and a.candidate is not None]
    if not good:
        return []
    best = min(a.verdict.level for a in good)
    start = _start(good[0].result) if measure is None else measure.start
    way = Yardstick(start, best) if start > best else None

    def place(attempt: Attempt) -> tuple[bool, float]:
        assert attempt.candidate is not None
        close = way is not None and way.share(attempt.verdict.level) >= MARGIN
        return (not close, attempt.candidate.invasiveness if close else attempt.verdict.level)

    return sorted(good, key=place)


def _start(result: Result) -> float:
    """The loss of the best constant answer, or else of the first steps."""
    if result.baseline is not None:
        return result.baseline
    first = [loss for loss in result.losses[:_FIRST] if math.isfinite(loss)]
    return max(first, default=math.nan)
