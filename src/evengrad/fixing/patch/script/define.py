"""Functions and classes of the patch's own at the top level of a script."""

from __future__ import annotations

import re

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual, SourceDraft


def define(draft: SourceDraft, at: cst.CSTNode, code: str) -> None:
    """Write definitions above the top-level statement that ``at`` is part of, and above its comment.

    Raises Manual where the script has one of their names already.
    """
    source = draft.source
    names = set(re.findall(r"^(?:def|class) (\w+)", code, re.MULTILINE))
    if any(node.value in names for node in source.all(cst.Name)):
        raise Manual(at, "before")
    statement = next(node for node in source.module.body if source.within(at, node))
    draft.above(statement, [*code.strip("\n").split("\n"), "", ""], apart=2)
