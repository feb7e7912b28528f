"""Edits of a script's text, collected and then made at once."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.errors import CannotChangeError
from evengrad.fixing.patch.script.edits import Clash, Edit, made
from evengrad.fixing.patch.script.imports import import_place, is_framework, missing, spell
from evengrad.fixing.patch.script.source import Source


class Manual(CannotChangeError):
    """What is to be changed was not found, or cannot be changed safely.

    at: the statement or expression that the user should look at. verb: where the code belongs: "in" that
    line, "after" it, "before" it. layers: which of the change's layers are meant; all, if none is named.
    """

    def __init__(
        self, at: cst.CSTNode | None = None, verb: str = "in", layers: Sequence[str] = ()
    ) -> None:
        super().__init__(verb)
        self.at, self.verb, self.layers = at, verb, tuple(layers)


class SourceDraft:
    """What shall become of a script. left: parts that could not be written."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.edits: list[Edit] = []
        self.left: list[Manual] = []
        self._imports: list[str] = []
        self._newline = source.module.default_newline

    def replace(self, node: cst.CSTNode, code: str) -> None:
        """Write other code in a node's place."""
        self.edits.append(Edit(self.source.start(node), self.source.end(node), code))

    def cut(self, start: int, stop: int) -> None:
        """Take a stretch of the text away."""
        self.edits.append(Edit(start, stop, ""))

    def insert(self, offset: int, code: str) -> None:
        """Write code between two characters."""
        self.edits.append(Edit(offset, offset, code))

    def before(self, node: cst.CSTNode, lines: Sequence[str]) -> None:
        """Write statements in front of the one that a node is part of; on its line, if it shares that."""
        small = _small(self.source, node)
        if not _alone(self.source, small):
            self.insert(self.source.start(small), "".join(f"{line}; " for line in lines))
            return
        offset = self.source.line_start(small)
        self._lines(offset, self._block(lines, self.source.indent(small)))

    def above(self, statement: cst.BaseStatement, lines: Sequence[str], apart: int) -> None:
        """Write lines in front of a top-level statement and the comment over it. apart: empty lines before."""
        offset, text = self.source.line_start(_first_of(statement)), self.source.text
        while (start := text.rfind("\n", 0, max(offset - 1, 0)) + 1) < offset and text[
            start
        ] == "#":
            offset = start
        gap = text[:offset]
        empty = len(gap) - len(gap.rstrip("\r\n")) - 1
        missing = max(0, apart - empty // len(self._newline)) if gap.strip() else 0
        self._lines(offset, self._block([""] * missing + [*lines], ""))

    def after(self, node: cst.CSTNode, lines: Sequence[str]) -> None:
        """Write statements behind the one that a node is part of; on its line, if it shares that."""
        small = _small(self.source, node)
        if not _alone(self.source, small):
            if any(line.endswith(":") for line in lines):
                raise Manual(node, "after")
            self.insert(self.source.end(small), "".join(f"; {line}" for line in lines))
            return
        self._lines(
            self._line_end(self.source.end(small)), self._block(lines, self.source.indent(small))
        )

    def spell(self, name: str) -> str:
        """How the script writes a name of its framework; an import is added where it has none."""
        found = spell(self.source, name)
        if found is None:
            statement, found = missing(self.source, name)
            self.need(statement)
        return found

    def need(self, statement: str) -> None:
        """An import, unless the script has it at its top."""
        lines = {line.strip() for line in self.source.text.splitlines()}
        if statement not in lines and statement not in self._imports:
            self._imports.append(statement)

    def quoted(self, word: str) -> str:
        """A string in the quotes that the script prefers."""
        single = self.source.text.count("'") > self.source.text.count('"')
        return f"'{word}'" if single else f'"{word}"'

    def done(self) -> str:
        """The new text. Raises Manual where nothing was written, or edits are in one another's way."""
        if not self.edits:
            raise self.left[0] if self.left else Manual()
        text, edits = self.source.text, [*self.edits]
        if self._imports:
            edits.append(self._import())
        try:
            return made(text, edits)
        except Clash as error:
            raise Manual() from error

    def _block(self, lines: Sequence[str], indent: str) -> str:
        return "".join((indent + line if line else "") + self._newline for line in lines)

    def _lines(self, offset: int, block: str) -> None:
        text = self.source.text
        if text.startswith(block, offset) or text.endswith(block, 0, offset):
            block = ""  # it is there already
        elif offset and text[offset - 1] not in "\r\n":  # the last line has no end
            block = self._newline + block.removesuffix(self._newline)
        self.insert(offset, block)

    def _line_end(self, offset: int) -> int:
        text = self.source.text
        ends = [at for end in "\r\n" if (at := text.find(end, offset)) >= 0]
        if not ends:
            return len(text)
        at = min(ends)
        return at + (2 if text.startswith("\r\n", at) else 1)

    def _import(self) -> Edit:
        """In front of the framework's first import, or else behind the first imports of the script."""
        block = self._block(self._imports, "")
        at = import_place(self.source)
        if at is None:
            return Edit(0, 0, block)
        place = (
            self.source.line_start(at) if is_framework(at) else self._line_end(self.source.end(at))
        )
        return Edit(place, place, block)


def _small(source: Source, node: cst.CSTNode) -> cst.CSTNode:
    found = source.statement(node)
    if found is None:
        raise Manual()
    return found


def _alone(source: Source, statement: cst.CSTNode) -> bool:
    """Whether nothing else stands on its lines, neither ``if x:`` before it nor ``; y`` behind it."""
    if isinstance(statement, cst.BaseCompoundStatement):
        return not source.text[source.line_start(statement) : source.start(statement)].strip()
    line = source.parent(statement)
    return isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1


def _first_of(statement: cst.BaseStatement) -> cst.CSTNode:
    return statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else statement
