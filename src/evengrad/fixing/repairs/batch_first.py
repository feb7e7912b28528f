"""A recurrent or attention layer that is told that the batch's axis comes first."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "samples_mixed"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """In every layer of that kind."""
    if not fact.values.get("known"):
        return
    kind, draft = str(fact.values["kind"]), SourceDraft(source)
    for call in source.all(cst.Call):
        if last(source, call) == kind and not arguments.unpacked(call):
            arguments.change(draft, call, {"batch_first": "True"})
    yield msg("{kind} gets batch_first=True", kind=kind), draft
