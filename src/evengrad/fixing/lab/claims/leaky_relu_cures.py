"""ReLU or Leaky ReLU prevents explosion.

How it is tested: with LeakyReLU in each hidden layer the training gives back at least half of what
the cause of an explosion had taken, and is better than without; paired t-test over seeds, 95%.

What is known: its slope is 1 as is that of ReLU; what explodes by its weights or its rate explodes
with it.
"""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.judging import Ruling, cures

SECTION = "3.3 (2)"
QUOTE = "这可以防止梯度变得过大"


def judge(table: Table) -> Iterator[Ruling]:
    """Against all that explodes."""
    yield from cures(table, "leaky ReLU", lambda c: c.effect == "explosion")
