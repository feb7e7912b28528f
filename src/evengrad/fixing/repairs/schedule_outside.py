"""A schedule that steps once an epoch, not with every batch."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.moving import move_behind
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "rate_gone"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """``scheduler.step()`` behind the loop over the batches."""
    for call in _steps(source):
        inner = source.around(call, cst.For)
        outer = None if inner is None else source.around(inner, cst.For)
        if inner is None or (outer is None and source.around(inner, cst.FunctionDef) is None):
            continue
        draft = SourceDraft(source)
        move_behind(draft, call, inner)
        yield (
            msg("{code} once an epoch, behind the loop over the batches", code=source.code(call)),
            draft,
        )


def _steps(source: Source) -> list[cst.Call]:
    """Of schedulers: by how they are made, or by their names."""
    made = {
        source.code(assign.targets[0].target)
        for assign in source.all(cst.Assign)
        if "lr_scheduler." in source.called(assign.value)
    }
    found = []
    for call in source.all(cst.Call):
        if last(source, call) == "step" and isinstance(call.func, cst.Attribute):
            owner = source.code(call.func.value)
            if owner in made or "sched" in owner.lower():
                found.append(call)
    return found
