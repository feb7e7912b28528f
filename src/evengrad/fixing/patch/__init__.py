"""Changes written into the user's script: formatting and comments stay, and nothing of evengrad is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst

from evengrad.errors import CannotChangeError
from evengrad.fixing.patch.advice import advise
from evengrad.fixing.patch.script.diff import unified
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.script.wrap import wrapped
from evengrad.values.change import Change
from evengrad.values.probe import Frontend

_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Patch:
    """A script before and after.

    Attributes:
        before: its source.
        after: the same with the changes in it.
        manual: for each change that could not be written safely, the code to add and its place; empty where all
            were written.
    """

    before: str
    after: str
    manual: tuple[str, ...]

    def diff(self, name: str) -> str:
        """The patch as a unified diff.

        Args:
            name: of the script, for the headers ``a/NAME`` and ``b/NAME``.

        Returns:
            The diff; empty where nothing changed.
        """
        return unified(self.before, self.after, name)


def write(
    source: str, changes: Sequence[Change], frontend: Frontend, name: str = "train.py"
) -> Patch:
    """The script with the changes in it.

    Args:
        source: the script.
        changes: in any order.
        frontend: whose vocabulary the script is written in.
        name: what the messages call the script.

    Returns:
        The patch.

    Raises:
        CannotChangeError: the source is not Python.
    """
    mark = _BOM if source.startswith(_BOM) else ""
    text, manual = source.removeprefix(_BOM), list[str]()
    for change in sorted(changes, key=lambda c: c.patch_stage):
        parsed = _parse(text, name)
        draft = SourceDraft(parsed)
        try:
            (change.write_keras if frontend == "keras" else change.write_torch)(draft)
            text = _compiled(draft)
        except CannotChangeError as error:
            draft.left = [error if isinstance(error, Manual) else Manual()]
        manual += [advise(parsed, change, frontend, left, name, source) for left in draft.left]
    return Patch(source, mark + text, tuple(manual))


def _parse(text: str, name: str) -> Source:
    try:
        return Source(text)
    except cst.ParserSyntaxError as error:
        raise CannotChangeError(
            f"Expected {name} to be Python; {error.message} in line {error.raw_line}. Make it run first."
        ) from error


def _compiled(draft: SourceDraft) -> str:
    text = draft.done()
    try:
        compile(text, "<patch>", "exec")
        text = wrapped(text, draft.source.text)
        compile(text, "<patch>", "exec")
    except (SyntaxError, ValueError) as error:
        raise Manual() from error
    return text
