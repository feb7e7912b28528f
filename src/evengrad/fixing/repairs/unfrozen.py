"""A model that is trained as a whole, where hardly anything of it is.

No adapter tells of this one: it is tried where a training stands still and most of its model is frozen
(``fixing.sight``).
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "weights_frozen"
_FLAGS = {"requires_grad", "trainable"}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Every statement that freezes weights lets them be trained."""
    draft = SourceDraft(source)
    for assign in source.all(cst.Assign):
        target = assign.targets[0].target
        named = isinstance(target, cst.Attribute) and target.attr.value in _FLAGS
        if named and source.code(assign.value) == "False":
            draft.replace(assign.value, "True")
    for call in source.all(cst.Call):
        method = isinstance(call.func, cst.Attribute) and call.func.attr.value == "requires_grad_"
        if method and [source.code(arg.value) for arg in call.args] == ["False"]:
            draft.replace(call.args[0].value, "True")
    if draft.edits:
        yield msg("the frozen weights are trained, too"), draft
