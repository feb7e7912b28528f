"""The example as written, a softmax and from_logits=True, trains as it should.

How it is tested: what the network reaches as written is what it reaches without the softmax, to 2
points, by two one-sided t-tests over seeds, 95%; and its loss ends no higher.

What is known: no. The softmax is applied twice, so that the loss cannot fall below 1.461 of 10
classes, and the slopes of the logits are flat. Keras on TensorFlow goes round a softmax that it sees
in a compiled graph; on JAX and PyTorch it is there.
"""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.judging import Ruling, same
from evengrad.values.message import msg

SECTION = "4"
QUOTE = "SparseCategoricalCrossentropy(from_logits=True)"


def judge(table: Table) -> Iterator[Ruling]:
    """With and without it, both by Adam as the article has it."""
    for subject in table.subjects:
        pairs = table.pairs(
            (subject.name, "as written", "none"),
            (subject.name, "without the softmax", "none"),
        )
        yield from same(
            msg("{name}, what it reaches", name=subject.name),
            pairs,
            lambda one: one.reached,
            msg("{first:.1%} as written, {second:.1%} without the softmax"),
            within=0.02,
        )
        yield from same(
            msg("{name}, its loss", name=subject.name),
            pairs,
            lambda one: one.loss,
            msg("{first:.3f} as written, {second:.3f} without the softmax"),
            within=0.1,
        )
