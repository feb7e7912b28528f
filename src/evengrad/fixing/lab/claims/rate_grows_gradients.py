"""A larger learning rate makes the gradient larger.

How it is tested: log10 of the gradient's norm is larger at a higher rate: in the first step, and as
the largest of all later steps; paired t-test over seeds, 95%.

What is known: the rate is not in dL/dW, so that the first gradient is the same. Later ones are
larger where the training leaves the stable region (Cohen 2021, 2103.00065), and may be smaller
where it learns faster.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from evengrad.fixing.lab.cells import LabTraining, Table
from evengrad.fixing.lab.judging import Ruling, larger
from evengrad.fixing.lab.planted import NOTHING
from evengrad.values.message import joined, msg

_BEYOND, _LEAST = 1e38, 1e-38
"""Norms that single precision has no numbers beyond."""
SECTION = "3.1 (3)"
QUOTE = "如果学习率设置为过大的值，那么梯度就会在训练过程中变得非常大"


def judge(table: Table) -> Iterator[Ruling]:
    """Each rate above the network's own."""
    for subject in table.subjects:
        for cause in table.of_kind("learning_rate"):
            if cause.strength > 1:
                pairs = table.pairs(
                    (subject.name, cause.name, "none"), (subject.name, NOTHING, "none")
                )
                for figure, when in (
                    (_first, msg("in the first step")),
                    (_later, msg("in later steps")),
                ):
                    where = joined(msg(", "), (subject.name, cause.name, when))
                    yield from larger(
                        where,
                        pairs,
                        figure,
                        msg("norm 10^{first:.2f}, at the own rate 10^{second:.2f}"),
                    )


def _first(one: LabTraining) -> float:
    return _log(one.result.norms[0]) if one.result.norms else math.nan


def _later(one: LabTraining) -> float:
    """One that is not finite is beyond all others."""
    later = [norm if math.isfinite(norm) else _BEYOND for norm in one.result.norms[1:]]
    return _log(max(later)) if later else math.nan


def _log(norm: float) -> float:
    return math.log10(max(norm, _LEAST))
