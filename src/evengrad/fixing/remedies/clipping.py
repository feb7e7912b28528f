"""Clip the gradients.

Treats: single gradients far above the others (EG803), and steps too large for the weights (EG801, EG802).

Why: a bound on the norm bounds the step (Pascanu 2013, 1211.5063). The bound is the median of the norms that
the run had while it was well, so that it binds on what is unusual; a bound that binds always is only another
learning rate (the check that a trial also learns refuses it where it hides a sickness). If the norm of all does
not do, then each element by its value, or each unit by its weights (AGC: Brock 2021, 2102.06171).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.clip_gradients import ClipGradients, ClipKind
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {
    Symptom.NOT_FINITE,
    Symptom.OVERWRITING,
    Symptom.SPIKES,
    Symptom.DIVERGING,
    Symptom.EXPLODING,
    Symptom.FIRST_UPDATE_TOO_LARGE,
}
_VALUE = 0.01
_OF_WEIGHTS = 0.01  # both papers' figure


def propose(case: Case) -> Iterable[Candidate]:
    """At the run's own median, or at 1 where no step went well."""
    if not case.symptoms & _TREATED:
        return
    well = [norm for norm in case.result.norms[:-1] if math.isfinite(norm) and norm > 0]
    bound = float(f"{np.median(well):.2g}") if len(well) >= 20 else 1.0
    choices: tuple[tuple[ClipKind, float, str], ...] = (
        ("norm", bound, msg("clip the norm at {bound:g}", bound=bound)),
        ("value", _VALUE, msg("clip each element at {VALUE:g}", VALUE=_VALUE)),
        (
            "agc",
            _OF_WEIGHTS,
            msg(
                "clip each unit's gradient at {OF_WEIGHTS:g} of its weights", OF_WEIGHTS=_OF_WEIGHTS
            ),
        ),
    )
    for alternative, (kind, value, words) in enumerate(choices):
        yield Candidate(
            "clipping", (ClipGradients(kind, value),), Cause.LEARNING_RATE, 2, words, alternative
        )
