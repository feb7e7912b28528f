"""What is common to optimizers, however they are written."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft

_ADAMS = {"Adam", "AdamW", "NAdam", "RAdam", "Nadam"}


def _is_adam(kind: str) -> bool:
    return kind in _ADAMS


def _choice(draft: SourceDraft, site: cst.CSTNode) -> cst.IfExp | None:
    """The conditional expression that chooses between all optimizers of the script, if that is so."""
    found = draft.source.parent(site)
    while isinstance(above := None if found is None else draft.source.parent(found), cst.IfExp):
        found = above
    return found if isinstance(found, cst.IfExp) else None


def _dropped(call: cst.Call, kept: set[str], shared: int, *, keep: bool) -> tuple[cst.Arg, ...]:
    """The arguments that another optimizer lacks. shared: how many leading ones all have."""
    if keep:
        return ()
    return tuple(
        arg
        for index, arg in enumerate(call.args)
        if (index >= shared if arg.keyword is None else arg.keyword.value not in kept)
    )
