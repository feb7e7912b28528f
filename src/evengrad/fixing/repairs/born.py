"""An operation kept away from where it is not finite: a clamp or an epsilon at the line itself."""

from __future__ import annotations

from collections.abc import Iterator

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.safe import WAYS
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact

FACT = "born"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """As the operation needs it."""
    for way in WAYS.get(str(fact.values.get("operation")), ()):
        yield from way(source, fact)
