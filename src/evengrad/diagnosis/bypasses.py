"""Which operations of a network another path goes round.

Between two neighbouring cut points every path has so many operations that change a gradient (weights,
normalisations, attention, recurrences). An operation is bypassed where all paths through it have more of them
than the shortest path has: the identity of a residual block, the concatenation of a dense one, the short branch
beside a long one. What such an operation does to the gradient is no drift of the network, however deep it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from evengrad.diagnosis.budget import Budget
from evengrad.values.probe import Operation, Probe
from evengrad.values.spec import Kind

_STEPS = {Kind.WEIGHTS, Kind.NORMALISATION, Kind.ATTENTION, Kind.RECURRENT, Kind.EMBEDDING}


def bypassed(probe: Probe, split: Budget) -> frozenset[str]:
    """Names of the operations on the path that a path with fewer steps goes round."""
    operations = {op.name: op for op in probe.operations}
    return frozenset(
        name
        for block in split.blocks
        if len(block.operations) > 1
        for name in _within([operations[name] for name in block.operations])
    )


def _within(block: Sequence[Operation]) -> list[str]:
    """Of one block, its operations in forward order."""
    below: dict[int, int] = {}
    for op in block:
        reached = min((below.get(port.tensor, 0) for port in op.inputs), default=0)
        for port in op.outputs:
            below[port.tensor] = reached + _steps(op)
    above: dict[int, float] = {port.tensor: 0.0 for port in block[-1].outputs}
    through: dict[str, float] = {}
    for op in reversed(block):
        ahead = min((above.get(port.tensor, math.inf) for port in op.outputs), default=math.inf)
        ahead += _steps(op)
        through[op.name] = ahead + min((below.get(port.tensor, 0) for port in op.inputs), default=0)
        for port in op.inputs:
            above[port.tensor] = min(above.get(port.tensor, math.inf), ahead)
    shortest = min(through.values())
    return [name for name, steps in through.items() if steps > shortest]


def _steps(op: Operation) -> int:
    return int(op.kind in _STEPS)
