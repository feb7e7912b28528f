"""Warm-up: the learning rate rises to its value over the first steps.

Treats: trainings whose rate is too large only at the start, while curvature is large and Adam's averages are
young (EG702, EG805, EG807).

Why: the largest stable rate is smallest at the start of many networks and grows as training moves to flatter
places (Gilmer 2021, 2110.04369; Goyal 2017, 1706.02677).
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.warmup import Warmup
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {
    Symptom.FIRST_UPDATE_TOO_LARGE,
    Symptom.RATE_TOO_LARGE,
    Symptom.OVERWRITING,
    Symptom.DYING_UNITS,
    Symptom.DIVERGING,
}


def propose(case: Case) -> Iterable[Candidate]:
    """Over half of a trial's steps."""
    if case.symptoms & _TREATED:
        steps = max(case.steps // 2, 1)
        yield Candidate(
            "warm_up",
            (Warmup(steps),),
            Cause.LEARNING_RATE,
            2,
            msg("warm up over {steps} steps", steps=steps),
        )
