"""With the depth of the network gradients vanish or explode.

How it is tested: |log10 of the gradient's growth from output to input| before the first step is
larger in a deeper network than in the shallowest one; paired t-test over seeds, 95%.

What is known: the growth is a product over layers, so that it is exponential in the depth wherever
the factor of a layer is not 1 (Pascanu 2013, 1211.5063; Schoenholz 2017, 1611.01232).
"""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.judging import Ruling, larger
from evengrad.values.message import joined, msg

SECTION = "1"
QUOTE = "随着模型的深度增加，梯度可能会逐渐消失或者梯度爆炸"


def judge(table: Table) -> Iterator[Ruling]:
    """Each deeper network against the shallowest, as it is and with scaled weights."""
    article = [s for s in table.subjects if s.convolutions is not None]
    shallow = min(article, key=lambda s: s.convolutions or 0, default=None)
    for subject in article:
        if shallow is None or subject is shallow:
            continue
        for cause in table.causes:
            if cause.kind in ("none", "initialisation"):
                yield from larger(
                    joined(msg(", "), (subject.name, cause.name)),
                    table.pairs(
                        (subject.name, cause.name, "none"), (shallow.name, cause.name, "none")
                    ),
                    lambda one: abs(one.growth_at_start),
                    msg("10^±{first:.2f}, with fewer layers 10^±{second:.2f}"),
                )
