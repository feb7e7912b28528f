"""Vanishing gradients make the training slow.

How it is tested: with weights that are too small, or sigmoids, the training reaches less in the
same steps than without; paired t-test over seeds, 95%.

What is known: so it is (Glorot 2010); the deeper the network the more.
"""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.judging import Ruling, larger
from evengrad.fixing.lab.planted import NOTHING
from evengrad.values.message import joined, msg

SECTION = "2"
QUOTE = "梯度消失指的是梯度逐渐接近0，……导致训练过程中的收敛速度很慢"


def judge(table: Table) -> Iterator[Ruling]:
    """The sound training against those that vanish."""
    for subject in table.subjects:
        for cause in table.causes:
            if cause.effect == "vanishing" and cause.kind != "learning_rate":
                yield from larger(
                    joined(msg(", "), (subject.name, cause.name)),
                    table.pairs(
                        (subject.name, NOTHING, "none"), (subject.name, cause.name, "none")
                    ),
                    lambda one: one.reached,
                    msg("{first:.0%} without, {second:.0%} with it"),
                )
