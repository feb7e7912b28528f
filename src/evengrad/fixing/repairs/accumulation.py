"""Accumulated gradients divided by how many there are."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import atom, last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "accumulation_undivided"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """``(loss / passes).backward()``."""
    for call in source.all(cst.Call):
        if last(source, call) != "backward" or not isinstance(call.func, cst.Attribute):
            continue
        loss, many = call.func.value, _passes(source, call, fact)
        if many is None:
            return
        draft = SourceDraft(source)
        scaled = isinstance(loss, cst.Call) and last(source, loss) == "scale" and loss.args
        inner = loss.args[0].value if scaled and isinstance(loss, cst.Call) else loss
        code = f"{atom(source, inner)} / {many}"
        draft.replace(inner, code if scaled else f"({code})")
        yield msg("the loss divided by {many}, the backward passes of a step", many=many), draft


def _passes(source: Source, backward: cst.Call, fact: Fact) -> str | None:
    """How many backward passes make a step: as the script writes it, else as it was counted."""
    loop = source.around(backward, cst.For)
    for test in [] if loop is None else source.all(cst.BinaryOperation, loop.body):
        if isinstance(test.operator, cst.Modulo) and source.around(test, cst.If) is not None:
            return atom(source, test.right)
    counted = [v for k, v in fact.values.items() if k in {"count"}]
    return str(int(counted[0])) if counted else None
