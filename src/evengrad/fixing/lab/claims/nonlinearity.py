"""Activations that are not linear let gradients accumulate and explode.

How it is tested: the gradient's growth from output to input before the first step is larger with
the network's own activation, and with each other one, than with none at the same weights; paired
t-test over seeds, 95%.

What is known: the reverse. The slope of a ReLU, a tanh or a sigmoid is at most 1, and a linear
network's is 1 everywhere: the same weights give it the larger gradient.
"""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.judging import Ruling, larger
from evengrad.values.message import joined, msg

SECTION = "3.1 (2)"
QUOTE = "如果使用的激活函数是非线性的，那么梯度可能会在训练过程中逐渐累积，导致梯度爆炸"


def judge(table: Table) -> Iterator[Ruling]:
    """The network's own activation and each planted one against none."""
    if not any(cause.activation == "linear" for cause in table.causes):
        return
    for subject in table.subjects:
        for cause in table.causes:
            curved = cause.kind == "activation" and cause.activation != "linear"
            if curved or cause.kind == "none":
                name = cause.activation or subject.activation
                yield from larger(
                    joined(msg(", "), (subject.name, name)),
                    table.pairs(
                        (subject.name, cause.name, "none"), (subject.name, "linear", "none")
                    ),
                    lambda one: one.growth_at_start,
                    msg("the gradient grows by 10^{first:+.2f}, linear by 10^{second:+.2f}"),
                )
