"""The gradient of a CNN is y * sigma'(z) * W.

How it is tested: if slopes and weights are all that there is, then what the measured growth owes to
them (initialisation and activation in the split by cause) is the growth itself: what is left is a
factor below 2, by two one-sided t-tests over seeds, 95%.

What is known: it has one layer, and the sum over places and paths is missing (padding, strides,
overlapping kernels, branches); in depth the growth is a product with such a factor for each layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from evengrad.fixing.lab.cells import LabTraining, Table
from evengrad.fixing.lab.judging import Ruling, bounded
from evengrad.values.message import joined, msg

_FACTOR = math.log10(2)
"""Decades."""
SECTION = "3.2"
QUOTE = "∇L = y·σ'(z)·∇z = y·σ'(z)·W"


def judge(table: Table) -> Iterator[Ruling]:
    """Each network and cause, without a remedy."""
    for subject in table.subjects:
        for cause in table.causes:
            if cause.kind in ("none", "initialisation", "activation"):
                left = [_left(one) for one in table.at(subject.name, cause.name).values()]
                finite = [value for value in left if math.isfinite(value)]
                mean = math.fsum(finite) / len(finite) if finite else math.nan
                yield from bounded(
                    joined(msg(", "), (subject.name, cause.name)),
                    finite,
                    msg("{mean:+.2f} decades are due to neither slopes nor weights", mean=mean),
                    within=_FACTOR,
                )


def _left(one: LabTraining) -> float:
    return one.growth_at_start - one.share("initialisation") - one.share("activation")
