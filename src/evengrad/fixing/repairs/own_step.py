"""A step of the optimizer whose weights the backward pass was made for."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last, on
from evengrad.fixing.patch.script.moving import block
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "never_stepped"
_BACKWARD = {"backward", "manual_backward"}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """In the place of another one's, which stands behind it; else behind it."""
    name = str(fact.values.get("optimizer"))
    for call in on(source, fact.where):
        if isinstance(call, cst.Call) and last(source, call) in _BACKWARD:
            other = str(fact.values.get("instead") or "")
            if other:
                yield from _exchanged(source, call, name, other)
            yield from _stepped(source, call, name)
            return


def _exchanged(
    source: Source, backward: cst.Call, name: str, other: str
) -> Iterator[tuple[str, SourceDraft]]:
    """The next step, and the nearest zero_grad above it."""
    beside = [call for s in block(source, backward) for call in source.all(cst.Call, s)]
    behind = [c for c in beside if _is(source, c, other, "step") and _follows(source, c, backward)]
    before = [
        c
        for c in beside
        if _is(source, c, other, "zero_grad") and not _follows(source, c, backward)
    ]
    if not behind:
        return
    draft = SourceDraft(source)
    # Between two steps both stand once; what stands before an earlier step is that one's.
    steps = [c for c in beside if last(source, c) == "step" and not _follows(source, c, backward)]
    own = [c for c in before if all(_follows(source, c, step) for step in steps)]
    for call in [*behind[:1], *own[-1:]]:
        draft.replace(_owner(call), name)
    yield msg("{name}.step() in the place of {other}.step()", name=name, other=other), draft


def _stepped(source: Source, backward: cst.Call, name: str) -> Iterator[tuple[str, SourceDraft]]:
    draft = SourceDraft(source)
    draft.after(backward, [f"{name}.step()"])
    yield msg("{name}.step() behind the backward pass", name=name), draft


def _is(source: Source, call: cst.Call, owner: str, method: str) -> bool:
    return source.code(call.func) == f"{owner}.{method}"


def _owner(call: cst.Call) -> cst.BaseExpression:
    assert isinstance(call.func, cst.Attribute)
    return call.func.value


def _follows(source: Source, one: cst.CSTNode, other: cst.CSTNode) -> bool:
    return source.start(one) > source.start(other)
