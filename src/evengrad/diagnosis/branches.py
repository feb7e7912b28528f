"""The residual branches of a network: what is added to a tensor that it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evengrad.values.probe import Operation, Probe
from evengrad.values.spec import Kind

_ADDS = {"add", "iadd", "addv2"}


@dataclass(frozen=True, slots=True)
class Branch:
    """A residual branch.

    Attributes:
        layers: those with weights, forward order.
        linear: the last of them is added as it is, or behind nothing but a change of shape or a dropout.
    """

    layers: tuple[str, ...]
    linear: bool


def branches(probe: Probe) -> tuple[Branch, ...]:
    """One for each sum of two tensors, one of which has more weighted layers behind what both come from."""
    maker = {port.tensor: op for op in probe.operations for port in op.outputs}
    return tuple(
        branch
        for op in probe.operations
        if op.kind is Kind.MERGE and op.type.lower().strip("_") in _ADDS and len(op.inputs) == 2
        for branch in _branch(op, maker)
    )


def _branch(add: Operation, maker: dict[int, Operation]) -> Iterator[Branch]:
    above = [_above(port.tensor, maker) for port in add.inputs]
    if not above[0] & above[1]:
        return
    own = [[maker[t] for t in sorted(a - b) if t in maker] for a, b in (above, above[::-1])]
    weighted = [[op for op in ops if op.kind is Kind.WEIGHTS] for ops in own]
    shorter, longer = sorted((0, 1), key=lambda side: len(weighted[side]))
    if len(weighted[shorter]) == len(weighted[longer]):
        return
    layers = tuple(dict.fromkeys(op.layer for op in weighted[longer]))
    end: Operation | None = maker.get(add.inputs[longer].tensor)
    while end is not None and end.kind in (Kind.RESHAPE, Kind.DROPOUT):
        end = maker.get(end.inputs[0].tensor)
    yield Branch(layers, end is not None and end.kind is Kind.WEIGHTS)


def _above(tensor: int, maker: dict[int, Operation]) -> set[int]:
    """It, and all that it was made from."""
    found, waiting = {tensor}, [tensor]
    while waiting:
        op = maker.get(waiting.pop())
        new = {port.tensor for port in op.inputs} - found if op is not None else set()
        found |= new
        waiting += new
    return found
