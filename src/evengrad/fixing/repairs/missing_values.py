"""Missing values set to a number behind the mask that leaves them out: 0 times NaN is NaN."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import in_torch, last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "born"
_ASKED = {"isnan", "isfinite", "is_nan", "is_finite"}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Where the script asks which of them are missing: its gradient goes through those, too."""
    if fact.values.get("direction") != "given":
        return
    for call in source.all(cst.Call):
        statement = source.statement(call)
        asked = last(source, call) in _ASKED and isinstance(statement, cst.Assign)
        name = call.args[0].value if asked and call.args else None
        if not isinstance(name, cst.Name) or statement is None:
            continue
        draft = SourceDraft(source)
        function = "torch.nan_to_num" if in_torch(source) else "keras.ops.nan_to_num"
        draft.after(statement, [f"{name.value} = {draft.spell(function)}({name.value})"])
        yield (
            msg(
                "what is missing of {value} is 0 behind the mask that leaves it out",
                value=name.value,
            ),
            draft,
        )
