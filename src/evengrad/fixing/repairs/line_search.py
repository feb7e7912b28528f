"""L-BFGS with the line search that is part of the method."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "line_search_missing"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """``strong_wolfe``, the one that PyTorch has."""
    draft = SourceDraft(source)
    for call in source.all(cst.Call):
        if last(source, call) == "LBFGS" and not arguments.unpacked(call):
            arguments.change(draft, call, {"line_search_fn": draft.quoted("strong_wolfe")})
    yield msg("LBFGS searches along the line"), draft
