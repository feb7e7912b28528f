"""A padding mask that is true where a place is to be left out."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import atom
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "mask_inverted"
_MASKS = ("key_padding_mask", "src_key_padding_mask", "tgt_key_padding_mask")


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Its opposite, wherever an attention is given one by name."""
    draft = SourceDraft(source)
    for call in source.all(cst.Call):
        for name in _MASKS:
            given = arguments.value(call, name)
            if given is None or source.code(given) in {name, "None"}:  # handed on
                continue
            if isinstance(given, cst.UnaryOperation) and isinstance(given.operator, cst.BitInvert):
                draft.replace(given, source.code(given.expression))
            else:
                draft.replace(given, f"~{atom(source, given)}")
    if draft.edits:
        yield msg("the padding mask is true where there is padding"), draft
