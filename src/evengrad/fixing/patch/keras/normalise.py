"""Keras: a normalisation between a layer and its activation, in the way in which the layer is written."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.keras.activation import activation, given_activation
from evengrad.fixing.patch.keras.layers import kind, place, sites
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.activations import KERAS
from evengrad.fixing.patch.script.counting import integer
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.python import method
from evengrad.fixing.patch.script.sequence import behind

_KINDS = {
    "batch": "BatchNormalization",
    "layer": "LayerNormalization",
    "group": "GroupNormalization",
}
_GROUPS = (32, 16, 8, 4, 2)


def normalise(draft: SourceDraft, norm_kind: str, layers: Sequence[str]) -> None:
    """Behind each of the layers; its activation moves behind the normalisation."""
    source = draft.source
    found, missing = sites(source, layers)
    if missing:
        draft.left.append(Manual(place(source, missing), layers=missing))
    for call, same in found:
        try:
            _one(draft, call, norm_kind)
        except Manual as left:
            draft.left.append(Manual(left.at, left.verb, same))


def _one(draft: SourceDraft, call: cst.Call, norm: str) -> None:
    source, above = draft.source, draft.source.parent(call)
    outer = None if above is None else source.parent(above)
    movable(draft, call)
    if isinstance(above, cst.Element) and isinstance(outer, cst.List):
        behind(draft, above, outer.elements, _layers(draft, call, norm))
    elif isinstance(above, cst.Arg) and isinstance(outer, cst.Call) and adds(outer):
        name = source.code(outer.func)
        draft.after(outer, [f"{name}({code})" for code in _layers(draft, call, norm)])
    elif isinstance(above, cst.Call) and above.func is call:
        _functional(draft, call, above, norm)
    elif isinstance(above, cst.Assign):
        _in_class(draft, call, above, norm)
    else:
        raise Manual(call, "after")
    moved = given_activation(source, call)
    if moved is not None:
        arguments.change(draft, call, {}, drop=[moved])


def movable(draft: SourceDraft, call: cst.Call) -> None:
    """Raises Manual where the activation is not plainly given, or the layer's call is not plain."""
    arg = given_activation(draft.source, call)
    named = arg is None or activation(draft.source, arg.value) in KERAS
    if not named and arg is not None and draft.source.code(arg.value) != "None":
        raise Manual(call, "after")
    if arguments.unpacked(call) or (arg is not None and not arg.keyword and len(call.args) > 2):
        raise Manual(call, "after")


def adds(call: cst.Call) -> bool:
    return isinstance(call.func, cst.Attribute) and call.func.attr.value == "add"


def _norm(draft: SourceDraft, call: cst.Call, norm: str) -> str:
    given: list[str] = []
    if norm == "group":
        width = arguments.value(call, "units", 0) or arguments.value(call, "filters", 0)
        channels = integer(draft.source, width)
        fitting = [
            g for g in _GROUPS if channels is not None and channels % g == 0 and channels > g
        ]
        if not fitting:
            raise Manual(call, "after")
        given.append(str(fitting[0]))
    order = arguments.value(call, "data_format")
    if order is not None and "channels_first" in draft.source.code(order):
        given.append("axis=1")
    return f"{draft.spell(f'keras.layers.{_KINDS[norm]}')}({', '.join(given)})"


def _layers(draft: SourceDraft, call: cst.Call, norm: str) -> list[str]:
    return [_norm(draft, call, norm), *activation_layers(draft, call)]


def activation_layers(draft: SourceDraft, call: cst.Call) -> list[str]:
    """The activation as a layer of its own; none for a linear one."""
    source, arg = draft.source, given_activation(draft.source, call)
    if arg is None or activation(source, arg.value) in {"", "linear"}:
        return []
    if kind(source, arg.value):
        return [source.code(arg.value)]
    return [f"{draft.spell('keras.layers.Activation')}({source.code(arg.value)})"]


def _functional(draft: SourceDraft, call: cst.Call, applied: cst.Call, norm: str) -> None:
    """``x = Dense(...)(x)`` gets further such lines; within an expression, calls around it."""
    source, above = draft.source, draft.source.parent(applied)
    codes = _layers(draft, call, norm)
    if isinstance(above, cst.Assign) and len(above.targets) == 1:
        name = source.code(above.targets[0].target)
        draft.after(above, [f"{name} = {code}({name})" for code in codes])
        return
    draft.insert(source.start(applied), "".join(f"{code}(" for code in reversed(codes)))
    draft.insert(source.end(applied), ")" * len(codes))


def _in_class(draft: SourceDraft, call: cst.Call, assigned: cst.Assign, norm: str) -> None:
    """A layer of a model's own: another one beside it, and both in ``call``."""
    source = draft.source
    target, owner = source.code(assigned.targets[0].target), source.around(call, cst.ClassDef)
    uses = [] if owner is None else source.all(cst.Call, owner)
    uses = [use for use in uses if source.code(use.func) == target]
    if not target.startswith("self.") or len(uses) != 1:
        raise Manual(call, "after")
    if any(source.code(node) == f"{target}_norm" for node in source.all(cst.Attribute)):
        raise Manual(call, "after")
    arg = given_activation(source, call)
    outer = "" if arg is None else function(draft, arg.value)
    draft.after(assigned, [f"{target}_norm = {_norm(draft, call, norm)}"])
    draft.insert(source.start(uses[0]), f"{outer}{'(' * bool(outer)}{target}_norm(")
    told = hand_on(draft, owner) if norm == "batch" and owner is not None else ""
    draft.insert(source.end(uses[0]), told + ")" * (1 + bool(outer)))


def function(draft: SourceDraft, value: cst.BaseExpression) -> str:
    """The activation as a function; nothing for a linear one."""
    source, name = draft.source, activation(draft.source, value)
    if name in {"", "linear"}:
        return ""
    if isinstance(value, cst.Call):
        raise Manual(value, "after")
    return source.code(value) if source.name(value) else draft.spell(f"keras.activations.{name}")


def hand_on(draft: SourceDraft, owner: cst.ClassDef) -> str:
    """What a layer is called with besides its input, so that it knows of training: Keras tells it only to a
    ``call`` that takes it.
    """
    call = method(owner, "call")
    if call is None:
        raise Manual(owner, "after")
    names = {p.name.value for p in (*call.params.params, *call.params.kwonly_params)}
    if "training" not in names:
        if isinstance(call.params.star_arg, cst.Param) or call.params.kwonly_params:
            raise Manual(call)
        last = call.params.params[-1]
        end = draft.source.end(last.default or last.annotation or last.name)
        if all(edit.start != end for edit in draft.edits):
            draft.insert(end, ", training=None")
    return ", training=training"
