"""An adaptive optimizer: Adam.

Treats: gradients whose size differs much between layers, so that no one rate fits all (EG101, EG102, EG806,
EG809), and rates that plain gradient descent does not bear.

Why: Adam divides each weight's gradient by its own running size (Kingma 2014, 1412.6980): layers that get a
thousandth of the gradient still move. It cannot bring back a gradient that is zero.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.change import Optimizer
from evengrad.finding import Cause
from evengrad.remedy import Candidate, Case

_RATE = 1e-3  # Adam's own default


def propose(case: Case) -> Iterable[Candidate]:
    """Where the optimizer is not adaptive already."""
    if case.optimizer.startswith(("adam", "nadam", "rmsprop", "radam", "lion")):
        return
    for cause in (Cause.LEARNING_RATE, Cause.ARCHITECTURE, Cause.ACTIVATION):
        if cause in case.causes or case.codes & {"EG101", "EG102", "EG806", "EG809"}:
            yield Candidate("optimizer", (Optimizer("adam", _RATE),), cause, 4, "Adam at 0.001")
            return
