"""Adagrad cures vanishing.

How it is tested: with it the training gives back at least half of what the cause of vanishing had
taken, and is better than without; paired t-test over seeds, 95%.

What is known: in part, as RMSprop; its steps only shrink (Duchi 2011).
"""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.judging import Ruling, cures

SECTION = "6 (4)"
QUOTE = "使用RMSprop或Adagrad优化器……以防止梯度消失"


def judge(table: Table) -> Iterator[Ruling]:
    """Against all that vanishes."""
    yield from cures(table, "Adagrad", lambda c: c.effect == "vanishing")
