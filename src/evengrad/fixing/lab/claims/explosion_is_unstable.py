"""Exploding gradients make the training unstable.

How it is tested: with weights that are too large, whose gradients explode, the training reaches
less than without; paired t-test over seeds, 95%.

What is known: steps beyond 2 / curvature leave the region in which the loss falls (Cohen 2021,
2103.00065).
"""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.judging import Ruling, larger
from evengrad.fixing.lab.planted import NOTHING
from evengrad.values.message import joined, msg

SECTION = "2"
QUOTE = "梯度爆炸指的是梯度逐渐变得非常大，……导致训练过程中的不稳定"


def judge(table: Table) -> Iterator[Ruling]:
    """The sound training against that with large weights."""
    for subject in table.subjects:
        for cause in table.of_kind("initialisation"):
            if cause.effect == "explosion":
                yield from larger(
                    joined(msg(", "), (subject.name, cause.name)),
                    table.pairs(
                        (subject.name, NOTHING, "none"), (subject.name, cause.name, "none")
                    ),
                    lambda one: one.reached,
                    msg("{first:.0%} without, {second:.0%} with them"),
                )
