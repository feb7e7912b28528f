"""Samples and labels in one random order, before the last part is taken for validation."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "classes_apart"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """In front of the ``fit`` that splits."""
    for call in source.all(cst.Call):
        given = arguments.value(call, "x", 0), arguments.value(call, "y", 1)
        split = arguments.argument(call, "validation_split")
        if last(source, call) != "fit" or split is None:
            continue
        if not all(isinstance(one, cst.Name) for one in given):
            continue
        x, y = (source.code(one) for one in given if one is not None)
        draft = SourceDraft(source)
        permutation = draft.spell("numpy.random.permutation")
        draft.before(
            call, [f"order = {permutation}(len({x}))", f"{x}, {y} = {x}[order], {y}[order]"]
        )
        yield msg("{x} and {y} are shuffled together before the split", x=x, y=y), draft
