"""Learning-rate decay cures vanishing.

How it is tested: with it the training gives back at least half of what the cause of vanishing had
taken, and is better than without; paired t-test over seeds, 95%.

What is known: no: the rate is not in dL/dW, and smaller steps are not larger ones. Warm-up is the
evidenced stabiliser (Goyal 2017, 1706.02677).
"""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.judging import Ruling, cures

SECTION = "6 (3)"
QUOTE = "在训练过程中逐渐减小学习率，以防止模型参数更新变得很小"


def judge(table: Table) -> Iterator[Ruling]:
    """Against all that vanishes."""
    yield from cures(table, "rate decay", lambda c: c.effect == "vanishing")
