"""Clip at a percentile of the run's own gradient norms.

Treats: spikes (EG803) of a gradient whose usual size changes in the course of the run; and what a clip at a
bound treats, where that has not worked.

Why: a bound that was right at the start binds always when gradients grow, and never when they shrink; the tenth
percentile of all norms so far goes with them (AutoClip: Seetharaman 2020, 2007.14469).
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.clip_gradients import ClipGradients
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_LATER = {
    Symptom.NOT_FINITE,
    Symptom.OVERWRITING,
    Symptom.DIVERGING,
    Symptom.EXPLODING,
    Symptom.FIRST_UPDATE_TOO_LARGE,
}
_PERCENTILE = 10.0  # the paper's


def propose(case: Case) -> Iterable[Candidate]:
    """Soon where there are spikes, elsewhere behind the other clips."""
    spikes = Symptom.SPIKES in case.symptoms
    if not spikes and not case.symptoms & _LATER:
        return
    words = msg("clip at the {share:g}th percentile of the run's norms", share=_PERCENTILE)
    changes = (ClipGradients("percentile", _PERCENTILE),)
    yield Candidate("percentile_clip", changes, Cause.LEARNING_RATE, 2, words, 1 if spikes else 3)
