"""What a forecast simplifies, in words."""

from __future__ import annotations

from collections.abc import Sequence

from evengrad.values.message import msg
from evengrad.values.spec import (
    Combine,
    Composite,
    Expand,
    ModelSpec,
    Node,
    Pointwise,
    Reshape,
    Slice,
    Softmax,
    Transpose,
)

_STEEP = 4.0
"""Variance of a constant in the logits of a softmax, beyond which it decides more of the weights than its law
says: a ramp (ALiBi) of 32 steps has its weights' concentration wrong by a factor of about two there.
"""

_ON = (Combine, Pointwise, Reshape, Transpose, Expand, Slice)


def steep_constants(spec: ModelSpec) -> tuple[str, ...]:
    """One note, where softmax reads constants that differ widely from place to place."""
    wide = {t for t, law in spec.constants.items() if law.variance > _STEEP}
    steep: set[int] = set()
    found: list[str] = []
    for owner, node in _opened(spec.nodes):
        if isinstance(node.op, Softmax) and steep.intersection(node.inputs):
            found.append(owner)
        elif isinstance(node.op, _ON):
            added = isinstance(node.op, Combine) and node.op.name in ("add", "subtract")
            if steep.intersection(node.inputs) or (added and wide.intersection(node.inputs)):
                steep.update(node.outputs)
    if not found:
        return ()
    more = msg(" and {number} others", number=len(found) - 1) if len(found) > 1 else ""
    return (
        msg(
            "the logits of {found}{more} have a constant added that differs widely from place to place; it is "
            "taken for normal, so that levels behind it may be off by a factor of two",
            found=found[0],
            more=more,
        ),
    )


def _opened(nodes: Sequence[Node], owner: str = "") -> list[tuple[str, Node]]:
    found: list[tuple[str, Node]] = []
    for node in nodes:
        if isinstance(node.op, Composite):
            found += _opened(node.op.nodes, owner or node.name)
        else:
            found.append((owner or node.name, node))
    return found
