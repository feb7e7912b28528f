"""Inputs, and targets, that are not finite set to zero.

Treats: batches with NaN or infinite inputs (EG103, EG801); in a regression, where that is not enough, targets,
too.

Why: one such value makes every gradient of its step NaN. Zero is the mean of normalised inputs, so that it says
nothing. The rows themselves should be repaired where the data comes from: this says that they alone are the
trouble.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.finite import Finite
from evengrad.fixing.changes.finite_targets import FiniteTargets
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {Symptom.NOT_FINITE_AT_START, Symptom.NOT_FINITE}


def propose(case: Case) -> Iterable[Candidate]:
    """Where a batch was to blame."""
    if Cause.BAD_BATCH in case.causes or (
        Cause.INPUT_DATA in case.causes and case.symptoms & _TREATED
    ):
        words = msg("NaN and inf in inputs become 0")
        yield Candidate("repair", (Finite(),), Cause.BAD_BATCH, 1, words)
        if case.probe is not None and case.probe.loss.family == "regression":
            words = msg("NaN and inf in inputs and targets become 0")
            yield Candidate("repair", (Finite(), FiniteTargets()), Cause.BAD_BATCH, 1, words)
