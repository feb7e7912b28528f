"""Keras: residual connections around layers, whose branches begin at zero."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.keras.activation import given_activation
from evengrad.fixing.patch.keras.layers import kind, place, sites
from evengrad.fixing.patch.keras.normalise import activation_layers, adds, hand_on, movable
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.define import define
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source

_CLASS = "SkipInit"
_NORMS = {"BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization"}


def skip(draft: SourceDraft, layers: Sequence[str]) -> None:
    """Around each layer where it is made, with the normalisation that follows it."""
    source = draft.source
    found, missing = sites(source, layers)
    if missing:
        draft.left.append(Manual(place(source, missing), layers=missing))
    wrapped = []
    for call, same in found:
        before = len(draft.edits)
        try:
            _one(draft, call)
            wrapped.append(call)
        except Manual as left:
            del draft.edits[before:]
            draft.left.append(Manual(left.at, left.verb, same))
    if wrapped:
        define(draft, min(wrapped, key=source.start), _class(draft))


def _one(draft: SourceDraft, call: cst.Call) -> None:
    source, above = draft.source, draft.source.parent(call)
    outer = None if above is None else source.parent(above)
    movable(draft, call)
    if {"input_shape", "input_dim"} & {a.keyword.value for a in call.args if a.keyword}:
        raise Manual(call)
    if activation_layers(draft, call):
        _wrap(draft, call)  # whatever follows reads the activation
    elif isinstance(above, cst.Element) and isinstance(outer, cst.List):
        _in_list(draft, call, above, outer)
    elif isinstance(above, cst.Arg) and isinstance(outer, cst.Call) and adds(outer):
        _added(draft, call, outer)
    elif isinstance(above, cst.Call) and above.func is call:
        _functional(draft, call, above)
    elif isinstance(above, cst.Assign):
        _in_class(draft, call, above)
    else:
        raise Manual(call)


def _wrap(draft: SourceDraft, call: cst.Call, norm: cst.BaseExpression | None = None) -> None:
    """In the class, together with a normalisation, or with its activation."""
    source, given = draft.source, given_activation(draft.source, call)
    both = "" if norm is None else f"{draft.spell('keras.Sequential')}(["
    end = ")" if norm is None else f", {source.code(norm)}]))"
    draft.insert(source.start(call), f"{_CLASS}({both}")
    if given is not None:
        arguments.change(draft, call, {}, drop=[given])
        if activation_layers(draft, call):
            end = f", activation={source.code(given.value)})"
    draft.insert(source.end(call), end)


def _in_list(draft: SourceDraft, call: cst.Call, element: cst.Element, listed: cst.List) -> None:
    source = draft.source
    following = list(listed.elements)[list(listed.elements).index(element) + 1 :][:1]
    norm = following[0].value if following else None
    if norm is None or kind(source, norm) not in _NORMS:
        _wrap(draft, call)
        return
    if "#" in source.text[source.end(call) : source.start(norm)]:
        raise Manual(call)
    _wrap(draft, call, norm)
    draft.cut(source.end(call), source.end(norm))


def _added(draft: SourceDraft, call: cst.Call, add: cst.Call) -> None:
    """``model.add(Dense(...))``, and the line behind it if that adds a normalisation."""
    source, following = draft.source, _next(draft.source, add)
    value = following.value if isinstance(following, cst.Expr) else None
    same = isinstance(value, cst.Call) and source.code(value.func) == source.code(add.func)
    given = value.args[0].value if same and isinstance(value, cst.Call) and value.args else None
    if given is None or kind(source, given) not in _NORMS:
        _wrap(draft, call)
        return
    _wrap(draft, call, given)
    _take_away(draft, following)


def _functional(draft: SourceDraft, call: cst.Call, applied: cst.Call) -> None:
    """``x = Dense(...)(x)``, and the line behind it if that normalises x."""
    source, above = draft.source, draft.source.parent(applied)
    if isinstance(above, cst.Arg):
        raise Manual(call)  # what reads it may be its normalisation
    if not isinstance(above, cst.Assign) or len(above.targets) != 1:
        _wrap(draft, call)
        return
    name, following = source.code(above.targets[0].target), _next(source, above)
    value = following.value if isinstance(following, cst.Assign) else None
    norm = value.func if isinstance(value, cst.Call) else None
    if norm is None or kind(source, norm) not in _NORMS:
        if following is not None and _normalises(source, following):
            raise Manual(call)
        _wrap(draft, call)
        return
    again = isinstance(following, cst.Assign) and source.code(following.targets[0].target) == name
    if not again or not isinstance(value, cst.Call) or source.code(value.args[0].value) != name:
        raise Manual(call)
    _wrap(draft, call, norm)
    _take_away(draft, following)


def _in_class(draft: SourceDraft, call: cst.Call, assigned: cst.Assign) -> None:
    """A layer of a model's own; the normalisation that alone reads it joins it."""
    source = draft.source
    target, owner = source.code(assigned.targets[0].target), source.around(call, cst.ClassDef)
    use = _use(source, target, owner)
    if owner is None or use is None:
        raise Manual(call)
    above = source.parent(use)
    reader = None if above is None else source.parent(above)
    if not isinstance(above, cst.Arg) or not isinstance(reader, cst.Call):
        if isinstance(above, cst.Assign) and _reads_norm(source, owner, above):
            raise Manual(call)
        _wrap(draft, call)
        return
    made = [d.node for d in source.definitions(reader.func)]
    values = [d.value for d in source.definitions(reader.func)]
    if len(values) != 1 or kind(source, values[0]) not in _NORMS:
        if not source.name(reader.func):
            raise Manual(call)  # one of the script's own functions may normalise
        _wrap(draft, call)
        return
    norm = source.code(reader.func)
    if _use(source, norm, owner) is not reader or values[0] is None:
        raise Manual(call)
    told = hand_on(draft, owner) if kind(source, values[0]) == "BatchNormalization" else ""
    _wrap(draft, call, values[0])
    _take_away(draft, source.statement(made[0]))
    draft.cut(source.start(reader), source.start(use))
    draft.cut(source.end(use), source.end(reader))
    if told:
        draft.insert(source.end(use) - 1, told)


def _use(source: Source, target: str, owner: cst.ClassDef | None) -> cst.Call | None:
    """The one call of a layer that is an attribute; None where there are others."""
    if owner is None or not target.startswith("self."):
        return None
    calls = [c for c in source.all(cst.Call, owner) if source.code(c.func) == target]
    uses = [n for n in source.all(cst.Attribute, owner) if source.code(n) == target]
    return calls[0] if len(calls) == 1 and len(uses) == 2 else None


def _reads_norm(source: Source, owner: cst.ClassDef, assign: cst.Assign) -> bool:
    """Whether the next statement calls a normalisation of the class."""
    following = _next(source, assign)
    calls = [] if following is None else source.all(cst.Call, following)
    bound = [d.value for c in calls for d in source.definitions(c.func)]
    return any(kind(source, value) in _NORMS for value in bound) and owner is not None


def _normalises(source: Source, statement: cst.CSTNode) -> bool:
    return any(kind(source, call) in _NORMS for call in source.all(cst.Call, statement))


def _next(source: Source, node: cst.CSTNode) -> cst.CSTNode | None:
    """The simple statement on the line behind."""
    small = source.statement(node)
    line = None if small is None else source.parent(small)
    block = None if line is None else source.parent(line)
    if not isinstance(block, cst.IndentedBlock | cst.Module):
        return None
    lines: list[cst.CSTNode] = list(block.body)
    following = lines[lines.index(line) + 1 :][:1] if line in lines else []
    if following and isinstance(following[0], cst.SimpleStatementLine):
        return following[0].body[0] if len(following[0].body) == 1 else None
    return None


def _take_away(draft: SourceDraft, statement: cst.CSTNode | None) -> None:
    """A whole line."""
    source = draft.source
    if statement is None:
        raise Manual()
    start, end = source.line_start(statement), source.end(statement)
    stop = source.text.find("\n", end) + 1
    if (
        not stop
        or source.text[end:stop].strip()
        or source.text[start : source.start(statement)].strip()
    ):
        raise Manual(statement)
    draft.cut(start, stop)


def _class(draft: SourceDraft) -> str:
    layer, saving = draft.spell("keras.layers.Layer"), draft.spell("keras.saving")
    zeros, scale = draft.quoted("zeros"), draft.quoted("scale")
    parts = f"({draft.quoted('branch')}, {draft.quoted('activation')})"
    return f'''
@{saving}.register_keras_serializable()
class {_CLASS}({layer}):
    """activation(x + scale * branch(x)): without the branch at first, for scale begins at 0."""

    def __init__(self, branch, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.branch = branch
        self.activation = {draft.spell("keras.activations.get")}(activation)

    def build(self, shape):
        if not self.branch.built:
            self.branch.build(shape)
        self.scale = self.add_weight(shape=(), initializer={zeros}, name={scale})

    def call(self, x, training=None):
        return self.activation(x + self.scale * self.branch(x, training=training))

    def get_config(self):
        own = {{name: {saving}.serialize_keras_object(getattr(self, name)) for name in {parts}}}
        return {{**super().get_config(), **own}}

    @classmethod
    def from_config(cls, config):
        own = {{name: {saving}.deserialize_keras_object(config[name]) for name in {parts}}}
        return cls(**{{**config, **own}})
'''
