"""A learning rate that decays to zero over the training.

Treats: steps that are too large later on, when the loss has become sharper (EG807, EG802, EG805, EG803).

Why: sharpness grows in training until the rate is at the edge of stability (Cohen 2021, 2103.00065); a half
cosine takes the rate below it again (Loshchilov 2016, 1608.03983), and averages the noise of the last steps.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.decay import Decay
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {
    Symptom.RATE_TOO_LARGE,
    Symptom.OVERWRITING,
    Symptom.SPIKES,
    Symptom.DYING_UNITS,
    Symptom.DIVERGING,
}


def propose(case: Case) -> Iterable[Candidate]:
    """Over a trial's steps: in a longer training its ``steps`` are to be as many."""
    if case.symptoms & _TREATED:
        yield Candidate(
            "decay",
            (Decay(case.steps),),
            Cause.LEARNING_RATE,
            2,
            msg("decay the learning rate to 0 over {steps} steps", steps=case.steps),
            alternative=1,
        )
