"""Normalised inputs.

Treats: a first layer that sees values of the wrong size (EG601).

Why: the gradient of the first weights is the input times the error: pixels of 0 to 255 make it a hundred
times too large. Mean 0 and variance 1 (LeCun 1998, Efficient BackProp, section 4.3), by the figures of the
first batch.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.inputs import StandardiseInputs
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg


def propose(case: Case) -> Iterable[Candidate]:
    """By the mean and deviation of the only input."""
    if (
        Symptom.INPUT_SCALE not in case.symptoms
        or case.probe is None
        or len(case.probe.inputs) != 1
    ):
        return
    value = case.probe.inputs[0].value
    if not value.std > 0:
        return
    mean, std = float(f"{value.mean:.3g}"), float(f"{value.std:.3g}")
    words = msg("inputs less {mean:g}, divided by {std:g}", mean=mean, std=std)
    yield Candidate("inputs", (StandardiseInputs(mean, std),), Cause.INPUT_DATA, 2, words)
