"""Inputs that are not finite set to zero.

Treats: batches with NaN or infinite inputs (EG103, EG801).

Why: one such value makes every gradient of its step NaN. Zero is the mean of normalised inputs, so that it says
nothing. The rows themselves should be repaired where the data comes from: this says that they alone are the
trouble.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.change import Finite
from evengrad.finding import Cause
from evengrad.remedy import Candidate, Case


def propose(case: Case) -> Iterable[Candidate]:
    """Where a batch was to blame."""
    if Cause.BAD_BATCH in case.causes or (
        Cause.INPUT_DATA in case.causes and case.codes & {"EG103", "EG801"}
    ):
        yield Candidate("repair", (Finite(),), Cause.BAD_BATCH, 1, "NaN and inf in inputs become 0")
