"""Lightning: a schedule that is meant for epochs steps once an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "rate_gone"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """``"interval": "epoch"`` in what ``configure_optimizers`` returns."""
    for element in source.all(cst.DictElement):
        word = source.code(element.key).strip("\"'")
        if word == "interval" and source.code(element.value).strip("\"'") == "step":
            draft = SourceDraft(source)
            draft.replace(element.value, draft.quoted("epoch"))
            yield msg("the schedule steps once an epoch"), draft
