"""A schedule that waits for the value that it is given to become better, not worse."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "rate_gone"
_OTHER = {"min": "max", "max": "min"}
_PATIENCE = 10  # both frameworks' default
_FACTOR = 0.5


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """The other mode; where it has no other, a patience and a factor that leave a rate."""
    mode = _OTHER.get(str(fact.values.get("mode")))
    for call in source.all(cst.Call):
        if last(source, call) != "ReduceLROnPlateau" or mode is None:
            continue
        for put in ({"mode": f'"{mode}"'}, {"patience": str(_PATIENCE), "factor": str(_FACTOR)}):
            draft = SourceDraft(source)
            arguments.change(draft, call, put)
            code = ", ".join(f"{name}={value}" for name, value in put.items())
            yield msg("ReduceLROnPlateau with {code}", code=code), draft
