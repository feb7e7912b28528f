"""An operation that half precision cannot hold, in float32."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import at, atom, in_torch, on
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "born"
_HALF = ("float16", "half", "torch.float16")


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """What it was given is cast before."""
    values = fact.values
    if str(values.get("dtype")) not in _HALF or values.get("direction") != "forward":
        return
    for node in _operands(source, fact):
        draft = SourceDraft(source)
        draft.replace(node, _cast(draft, node))
        yield msg("{code} in float32", code=source.code(node)), draft


def _operands(source: Source, fact: Fact) -> list[cst.BaseExpression]:
    """By its code; else the first argument of the call, or both sides of the operator."""
    named = str(fact.values.get("operand") or "")
    own = [n for n in on(source, fact.where) if named and source.code(n) == named]
    if own:
        return own[:1]
    place = at(source, fact.where)
    if isinstance(place, cst.Call):
        if place.args:
            return [place.args[0].value]
        return [place.func.value] if isinstance(place.func, cst.Attribute) else []
    return [place.left] if isinstance(place, cst.BinaryOperation) else []


def _cast(draft: SourceDraft, node: cst.BaseExpression) -> str:
    source = draft.source
    if in_torch(source):
        return f"{atom(source, node)}.float()"
    names = [alias.evaluated_name for alias in source.all(cst.ImportAlias)]
    if "tensorflow" in names:
        return f"{draft.spell('tensorflow.cast')}({source.code(node)}, {draft.quoted('float32')})"
    return f"{draft.spell('keras.ops.cast')}({source.code(node)}, {draft.quoted('float32')})"
