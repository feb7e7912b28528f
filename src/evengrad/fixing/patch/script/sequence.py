"""Elements of a list or of a call's arguments: writing others behind them."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft


def behind(
    draft: SourceDraft, node: cst.CSTNode, siblings: Sequence[cst.CSTNode], codes: Sequence[str]
) -> None:
    """Further elements behind one of several, laid out as they are."""
    source, index = draft.source, list(siblings).index(node)
    if index + 1 < len(siblings):
        following = siblings[index + 1]
        separator = _separator(draft, following)
        draft.insert(source.start(following), "".join(code + separator for code in codes))
        return
    separator = _separator(draft, node)
    draft.insert(source.end(node), "".join(separator + code for code in codes))


def in_front(draft: SourceDraft, node: cst.CSTNode, code: str) -> None:
    """One more element before another."""
    draft.insert(draft.source.start(node), code + _separator(draft, node))


def _separator(draft: SourceDraft, node: cst.CSTNode) -> str:
    """What stands between two elements: a line's end, where this one begins its line."""
    source = draft.source
    if source.text[source.line_start(node) : source.start(node)].strip():
        return ", "
    return f",{source.module.default_newline}{source.indent(node)}"
