"""How large the gradient is depends mainly on the slope of the activation.

How it is tested: of the growth before the first step the part that is due to the activation is
larger in size than that due to the scale of the weights; paired t-test over seeds, 95%.

What is known: both count alike, as factors of each layer; a slope has a bound, a weight has none.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.judging import Ruling, paired, ruled
from evengrad.values.message import joined, msg

SECTION = "3.2"
QUOTE = "梯度的计算主要依赖于激活函数的导数"


def judge(table: Table) -> Iterator[Ruling]:
    """Each network with each activation and scale."""
    for subject in table.subjects:
        for cause in table.causes:
            if cause.kind in ("none", "initialisation", "activation"):
                found = table.at(subject.name, cause.name).values()
                differences = [
                    abs(m.share("activation")) - abs(m.share("initialisation")) for m in found
                ]
                means = [
                    float(np.mean([m.share(name) for m in found] or [0.0]))
                    for name in ("activation", "initialisation")
                ]
                yield from ruled(
                    joined(msg(", "), (subject.name, cause.name)),
                    paired(differences),
                    msg(
                        "{first:+.2f} decades by slopes, {second:+.2f} by the weights' scale",
                        first=means[0],
                        second=means[1],
                    ),
                )
