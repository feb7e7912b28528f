"""Residual branches that begin at zero.

Treats: gradients that explode by depth in a residual network: each branch that adds as much as it is given
doubles the variance (EG101 with the cause architecture).

Why: with its last layer at zero each block is the identity at the start, so that nothing grows with depth; the
first steps let the branches in (Goyal 2017, 1706.02677, section 5.1; Fixup: Zhang 2019, 1901.09321).
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.initialise import Initialise
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {Symptom.EXPLODING, Symptom.OVERWRITING}


def propose(case: Case) -> Iterable[Candidate]:
    """The last layer of each branch, where nothing stands between it and the sum."""
    ends = tuple(dict.fromkeys(branch.layers[-1] for branch in case.branches if branch.linear))
    if ends and case.symptoms & _TREATED and not case.normalised:
        yield Candidate(
            "zero_branches",
            (Initialise(ends, "linear", 0.0, "zeros"),),
            Cause.ARCHITECTURE,
            3,
            msg("{number} residual branches begin at zero", number=len(ends)),
            alternative=0 if Cause.ARCHITECTURE in case.causes else 1,
        )
