"""Clipping: an argument of the optimizer; by a watch for the kinds that Keras lacks."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.keras import optimizers
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.wording import number

_KERAS = {"norm": "global_clipnorm", "value": "clipvalue"}
_LIMITS = ("clipnorm", "clipvalue", "global_clipnorm")


def clip_gradients(draft: SourceDraft, kind: str, bound: float) -> None:
    """An argument of the optimizer, or a callback of ``fit``."""
    if kind in _KERAS:
        _limit(draft, kind, bound)
        return
    source = draft.source
    site = optimizers.single(source)
    if isinstance(site, cst.Call) and any(arguments.argument(site, word) for word in _LIMITS):
        raise Manual(site)
    fits = [c for c in source.all(cst.Call) if _is_fit(c)]
    if not fits:
        raise Manual(site)
    draft.need("import evengrad")
    clip = draft.quoted(f"{kind}:{number(bound)}")
    for fit in fits:
        _watch(draft, fit, f"evengrad.keras.Watch(clip={clip})")


def _is_fit(call: cst.Call) -> bool:
    return (
        isinstance(call.func, cst.Attribute) and call.func.attr.value == "fit" and bool(call.args)
    )


def _watch(draft: SourceDraft, fit: cst.Call, code: str) -> None:
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


def _limit(draft: SourceDraft, kind: str, bound: float) -> None:
    """``global_clipnorm=`` or ``clipvalue=`` of each optimizer; Keras takes only one limit."""
    word = _KERAS[kind]
    for site in optimizers.optimizers(draft.source):
        others: list[cst.Arg] = []
        if isinstance(site, cst.Call):
            limits = [arguments.argument(site, limit) for limit in _LIMITS if limit != word]
            others = [arg for arg in limits if arg is not None]
            if arguments.argument(site, word) is not None and others:
                raise Manual(site)
        optimizers.put(draft, site, {word: number(bound)}, others)
