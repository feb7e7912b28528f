"""Weights scaled on one batch, so that each layer's output has variance 1.

Treats: gradients that explode or vanish because of the weights' scale (EG301, EG302, EG101, EG102), where the
variance that theory expects is not the one that the data has.

Why: measured, layer after layer, instead of assumed: whatever lies between two layers is taken into account
(LSUV, Mishkin 2015, 1511.06422).
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.unit_variance import UnitVariance
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {Symptom.EXPLODING, Symptom.VANISHING}


def propose(case: Case) -> Iterable[Candidate]:
    """For all weighted layers, where the variance of theory was not enough."""
    hurt = Cause.INITIALISATION in case.causes or case.symptoms & _TREATED
    if hurt and case.weighted and not case.normalised:
        yield Candidate(
            "unit_variance",
            (UnitVariance(case.weighted),),
            Cause.INITIALISATION,
            3,
            msg("weights scaled to unit variance on the first batch"),
            alternative=1,
        )
