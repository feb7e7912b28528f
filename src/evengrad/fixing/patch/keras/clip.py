"""Clipping: an argument of the optimizer; by a watch for the kinds that Keras lacks."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.keras import optimizers
from evengrad.fixing.patch.keras.callbacks import add_callback, fits
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
    found = fits(source)
    if not found:
        raise Manual(site)
    draft.need("import evengrad")
    clip = draft.quoted(f"{kind}:{number(bound)}")
    for fit in found:
        add_callback(draft, fit, f"evengrad.keras.Watch(clip={clip})")


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
