"""Clipping prevents explosion.

How it is tested: with gradients clipped to a norm of 1 the training gives back at least half of
what the cause of an explosion had taken, and is better than without; paired t-test over seeds, 95%.

What is known: it bounds the step (Pascanu 2013, 1211.5063), and leaves the growth over depth as it
is.
"""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.judging import Ruling, cures

SECTION = "3.3 (4)"
QUOTE = "将梯度剪切为一个有限的范围……这可以防止梯度爆炸"


def judge(table: Table) -> Iterator[Ruling]:
    """Against all that explodes."""
    yield from cures(table, "clipping", lambda c: c.effect == "explosion")
