"""Keras: callbacks of ``fit``."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source


def fits(source: Source) -> list[cst.Call]:
    """Every call of a ``fit`` with arguments."""
    return [call for call in source.all(cst.Call) if _is_fit(call)]


def _is_fit(call: cst.Call) -> bool:
    return (
        isinstance(call.func, cst.Attribute) and call.func.attr.value == "fit" and bool(call.args)
    )


def add_callback(draft: SourceDraft, fit: cst.Call, code: str) -> None:
    """One more, behind those that a ``fit`` has. Raises Manual where they cannot be seen."""
    given, source = arguments.value(fit, "callbacks"), draft.source
    if arguments.unpacked(fit):
        raise Manual(fit)
    if given is None:
        arguments.change(draft, fit, {"callbacks": f"[{code}]"})
    elif isinstance(given, cst.List) and given.elements:
        draft.insert(source.end(given.elements[-1]), f", {code}")
    else:
        draft.replace(
            given,
            f"[{code}]" if isinstance(given, cst.List) else f"[*{source.code(given)}, {code}]",
        )
