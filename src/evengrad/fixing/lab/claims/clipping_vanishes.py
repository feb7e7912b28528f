"""Clipping may make gradients vanish.

How it is tested: with clipping the gradient shrinks more from output to input, before the first
step and at the end of the training: by more than 0.1 decades, or by less, in paired t-tests over
seeds, 95%.

What is known: no. It scales the update, not backpropagation, so that the ratios of layers stay; too
small a bound is a small learning rate, with a bias (Koloskova 2023, 2305.01588).
"""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.lab.cells import LabTraining, Table
from evengrad.fixing.lab.judging import SAME, Ruling, larger
from evengrad.values.message import joined, msg

SECTION = "3.3 (4)"
QUOTE = "但可能会导致梯度消失的问题"


def judge(table: Table) -> Iterator[Ruling]:
    """Every training that was clipped, against the same without."""
    for subject in table.subjects:
        for cause in table.causes:
            pairs = table.pairs(
                (subject.name, cause.name, "clipping"), (subject.name, cause.name, "none")
            )
            for figure, when in ((_start, msg("before the first step")), (_end, msg("at the end"))):
                yield from larger(
                    joined(msg(", "), (subject.name, cause.name, when)),
                    [(b, a) for a, b in pairs],
                    figure,
                    msg(
                        "the gradient grows by 10^{first:+.2f} without, by 10^{second:+.2f} with it"
                    ),
                    bound=SAME,
                )


def _start(one: LabTraining) -> float:
    return one.growth_at_start


def _end(one: LabTraining) -> float:
    return one.growth
