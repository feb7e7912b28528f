"""Keras: clips that its optimizers do not have, by a watch."""

from __future__ import annotations

import libcst as cst

from evengrad.change import Clip
from evengrad.patch import arguments, keras_optimizers
from evengrad.patch.clip import keras as plain
from evengrad.patch.draft import Draft, Manual
from evengrad.patch.numbers import number

_LIMITS = ("clipnorm", "clipvalue", "global_clipnorm")


def keras(draft: Draft, change: Clip) -> None:
    """An argument of the optimizer, or a callback of ``fit``."""
    if change.kind in ("norm", "value"):
        plain(draft, change)
        return
    source = draft.source
    site = keras_optimizers.single(source)
    if isinstance(site, cst.Call) and any(arguments.argument(site, word) for word in _LIMITS):
        raise Manual(site)
    fits = [c for c in source.all(cst.Call) if _is_fit(c)]
    if not fits:
        raise Manual(site)
    draft.need("import evengrad")
    clip = draft.quoted(f"{change.kind}:{number(change.bound)}")
    for fit in fits:
        _watch(draft, fit, f"evengrad.keras.Watch(clip={clip})")


def _is_fit(call: cst.Call) -> bool:
    return (
        isinstance(call.func, cst.Attribute) and call.func.attr.value == "fit" and bool(call.args)
    )


def _watch(draft: Draft, fit: cst.Call, code: str) -> None:
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
