"""Clip the gradient's norm.

Treats: single gradients far above the others (EG803), and steps too large for the weights (EG801, EG802).

Why: a bound on the norm bounds the step (Pascanu 2013, 1211.5063). The bound is the median of the norms that
the run had while it was well, so that it binds on what is unusual; a bound that binds always is only another
learning rate (the check that a trial also learns refuses it where it hides a sickness).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from evengrad.change import Clip
from evengrad.finding import Cause
from evengrad.remedy import Candidate, Case


def propose(case: Case) -> Iterable[Candidate]:
    """At the run's own median, or at 1 where no step went well."""
    if not case.codes & {"EG801", "EG802", "EG803", "EG807", "EG101", "EG701"}:
        return
    well = [norm for norm in case.result.norms[:-1] if math.isfinite(norm) and norm > 0]
    bound = float(f"{np.median(well):.2g}") if len(well) >= 20 else 1.0
    yield Candidate(
        "clipping", (Clip("norm", bound),), Cause.LEARNING_RATE, 2, f"clip the norm at {bound:g}"
    )
