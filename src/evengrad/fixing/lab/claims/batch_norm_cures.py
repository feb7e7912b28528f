"""Batch normalisation cures vanishing.

How it is tested: with it the training gives back at least half of what the cause of vanishing had
taken, and is better than without; paired t-test over seeds, 95%.

What is known: in part. It takes the scale of the weights out of the gradient (Ioffe 2015,
1502.03167); deep plain networks with it explode at the start, by 1.21 a layer (Yang 2019,
1902.08129).
"""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.judging import Ruling, cures

SECTION = "6 (2)"
QUOTE = "在模型中添加批量归一化层，以防止输入特征的变化导致梯度消失"


def judge(table: Table) -> Iterator[Ruling]:
    """Against all that vanishes."""
    yield from cures(table, "batch norm", lambda c: c.effect == "vanishing")
