"""Statements that move to another place of their script."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source


def line_of(source: Source, node: cst.CSTNode) -> cst.SimpleStatementLine:
    """The line of its own that a simple statement stands on. Raises Manual where it shares it."""
    found = source.around(node, cst.SimpleStatementLine)
    if found is None or len(found.body) != 1:
        raise Manual(node)
    return found


def cut_line(draft: SourceDraft, node: cst.CSTNode) -> str:
    """Take the statement of a node away, with its line; what it was."""
    source = draft.source
    statement = line_of(source, node)
    _keep_block(draft, statement)
    draft.cut(source.line_start(statement), _line_end(source, source.end(statement)))
    return source.text[source.start(statement) : source.end(statement)]


def move_behind(draft: SourceDraft, node: cst.CSTNode, place: cst.CSTNode) -> None:
    """Take the statement of a node away, and write it behind another one."""
    source, newline = draft.source, draft.source.module.default_newline
    code, offset = cut_line(draft, node), _line_end(source, source.end(place))
    lines = [source.indent(place) + line for line in code.split(newline)]
    lines[1:] = code.split(newline)[1:]
    before = "" if source.text[:offset].endswith("\n") else newline
    draft.insert(offset, before + newline.join(lines) + newline)


def block(source: Source, node: cst.CSTNode) -> list[cst.BaseStatement]:
    """The statements beside the one that a node is part of, that one included."""
    statement = source.around(node, cst.SimpleStatementLine) or source.statement(node)
    holder = None if statement is None else source.parent(statement)
    return [] if holder is None else list(getattr(holder, "body", []))


def _keep_block(draft: SourceDraft, statement: cst.CSTNode) -> None:
    """Raises Manual where nothing would be left in its block."""
    holder = draft.source.parent(statement)
    if isinstance(holder, cst.IndentedBlock) and len(holder.body) < 2:
        raise Manual(statement)


def _line_end(source: Source, offset: int) -> int:
    at = source.text.find("\n", offset)
    return len(source.text) if at < 0 else at + 1
