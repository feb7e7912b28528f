"""Residual branches scaled by their number.

Treats: gradients that explode by depth in a residual network without normalisation: each branch that adds as
much as it is given doubles the energy (EG101 with the cause architecture).

Why: times L^-1/2 the branches together add what one did, and each still learns something (depth-muP: Yang
2023, 2310.02244); times L^-1, where the branches themselves amplify too much for that (CompleteP: Dey 2025,
2505.01618). Which of the two follows from the gain of the branches in the network's own forecast.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.scale_branches import ScaleBranches
from evengrad.fixing.foreseen import branch_energy
from evengrad.theory.residual import DEPTH_MUP, branch_scale, least_power
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {Symptom.EXPLODING, Symptom.OVERWRITING}
_FEWEST = 4  # branches
_MOST = 4.6  # log energy: a tenfold norm from the last block to the first is not even


def propose(case: Case) -> Iterable[Candidate]:
    """The last layer of each branch, where nothing stands between it and the sum."""
    ends = tuple(dict.fromkeys(branch.layers[-1] for branch in case.branches if branch.linear))
    if len(ends) < _FEWEST or not case.symptoms & _TREATED or case.normalised:
        return
    power = least_power(len(ends), branch_energy(case), _MOST)
    name = "1/sqrt" if power == DEPTH_MUP else "1/"
    yield Candidate(
        "scaled_branches",
        (ScaleBranches(ends, branch_scale(len(ends), power)),),
        Cause.ARCHITECTURE,
        4,
        msg("{number} residual branches times {name}({number})", number=len(ends), name=name),
        alternative=0 if Cause.ARCHITECTURE in case.causes else 1,
    )
