"""What the user is told to write where a patch could not: the code and its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual
from evengrad.fixing.patch.script.edits import split
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.wording import ADD, WRITE
from evengrad.values.change import Change
from evengrad.values.message import msg, with_values

_PLACES = {
    "in": msg("in the line {where}"),
    "before": msg("before the line {where}"),
    "after": msg("after the line {where}"),
}


def advise(
    source: Source, change: Change, frontend: str, left: Manual, script: str, original: str
) -> str:
    """One message. source: the script as it was when the change was to be written; original: at first."""
    code, place, verb = _with_layers(change, left.layers).advice(keras=frontend == "keras")
    at = None if left.at is None else source.statement(left.at) or left.at
    if at is not None:
        line = split(source.text)[source.line(at) - 1].strip()
        where = f"`{line}` ({script}:{_original(source, at, original)})"
        place = with_values(_PLACES[left.verb], {"where": where})
        verb = WRITE if left.verb == "in" else ADD
    return msg("{place} {verb}: {code}", place=place, verb=verb, code=code)


def _original(source: Source, at: cst.CSTNode, original: str) -> int:
    """The line's number in the script as the user has it."""
    now, then, line = split(source.text), split(original), source.line(at) - 1
    for match in SequenceMatcher(None, now, then, autojunk=False).get_matching_blocks():
        if match.a <= line < match.a + match.size:
            return match.b + line - match.a + 1
    return line + 1


def _with_layers(change: Any, layers: Sequence[str]) -> Change:
    """The change of these layers; as it is where it has none, or none are given."""
    own: Change = change
    return replace(change, layers=tuple(layers)) if layers and hasattr(change, "layers") else own
