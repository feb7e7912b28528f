"""Weights that begin too large make the gradient very large.

How it is tested: the gradient's growth from output to input before the first step is larger with
scaled weights than without; paired t-test over seeds, 95%.

What is known: each layer's factor is proportional to the scale of its weights, so that the growth
has it to the power of the depth (Glorot 2010; He 2015, 1502.01852).
"""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.judging import Ruling, larger
from evengrad.fixing.lab.planted import NOTHING
from evengrad.values.message import joined, msg

SECTION = "3.1 (1)"
QUOTE = "如果权重在初始化时被设置为过大的值，那么梯度就会在训练过程中变得非常大"


def judge(table: Table) -> Iterator[Ruling]:
    """Each scale above 1."""
    for subject in table.subjects:
        for cause in table.of_kind("initialisation"):
            if cause.strength > 1:
                yield from larger(
                    joined(msg(", "), (subject.name, cause.name)),
                    table.pairs(
                        (subject.name, cause.name, "none"), (subject.name, NOTHING, "none")
                    ),
                    lambda one: one.growth_at_start,
                    msg("the gradient grows by 10^{first:+.2f}, without by 10^{second:+.2f}"),
                )
