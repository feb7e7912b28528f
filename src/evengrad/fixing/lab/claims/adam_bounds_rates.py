"""Adam prevents explosion by too large a learning rate.

How it is tested: with Adam at the same rate the training gives back at least half of what a rate
that was too large had taken, and is better than without; paired t-test over seeds, 95%.

What is known: no. The step is bounded, the dynamics are not: the edge moves to 38 / rate of the
preconditioned curvature (Cohen 2022, 2207.14484), and rates that suit SGD are too large for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.judging import Ruling, cures

SECTION = "3.3 (3)"
QUOTE = "使用动态学习率策略，如Adam或RMSprop……可以防止学习率设置为过大的值，从而避免梯度爆炸"


def judge(table: Table) -> Iterator[Ruling]:
    """Against rates that are too large."""
    yield from cures(table, "Adam", lambda c: c.kind == "learning_rate" and c.effect == "explosion")
