"""Pretrained weights (with --pretrained FILE).

Treats: any start from which the gradients explode or vanish.

Why: weights that were trained before lie where the loss is smooth and the gradients are even
(Yosinski 2014, 1411.1792). They are matched by name and shape; the matched layers go on at a tenth of the rate,
so that the new ones do not undo them (Howard and Ruder 2018, 1801.06146), or are frozen; in Keras, which has
one rate for all weights, the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.pretrained import Pretrained
from evengrad.values.finding import Cause
from evengrad.values.message import joined, msg


def propose(case: Case) -> Iterable[Candidate]:
    """Where the user has a file; both ways, one after the other."""
    if case.pretrained is None:
        return
    cause = next(iter(case.causes), Cause.INITIALISATION)
    words = msg("weights from {pretrained}", pretrained=case.pretrained)
    ways = [(0.1, msg("at a tenth of the rate")), (0.0, msg("frozen"))]
    if case.probe is not None and case.probe.frontend == "keras":
        ways.reverse()
    for alternative, (factor, how) in enumerate(ways):
        yield Candidate(
            "pretrained",
            (Pretrained(case.pretrained, factor),),
            cause,
            2,
            joined(msg(", "), (words, how)),
            alternative,
        )
