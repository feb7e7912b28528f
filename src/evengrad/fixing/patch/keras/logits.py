"""Keras: a loss that is told of logits, or a network without its closing softmax or sigmoid."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.keras.activation import activation, given_activation
from evengrad.fixing.patch.keras.head import closing
from evengrad.fixing.patch.keras.layers import kind
from evengrad.fixing.patch.keras.optimizers import compiles
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source

_LOSSES = {
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "binary_crossentropy": "BinaryCrossentropy",
}
_SQUASHING = {"softmax", "sigmoid"}


def use_logits(draft: SourceDraft, from_logits: bool) -> None:
    """``from_logits=True`` in the loss, or no activation at the end."""
    if not from_logits:
        for call in closing(draft.source):
            _bare(draft, call)
        return
    source = draft.source
    for call in source.all(cst.Call):
        package, _, name = source.called(call).rpartition(".")
        if package == "keras.losses" and name in {*_LOSSES, *_LOSSES.values()}:
            arguments.change(draft, call, {"from_logits": "True"})
    for call in compiles(source):
        _named(draft, arguments.value(call, "loss", 1))


def _named(draft: SourceDraft, loss: cst.BaseExpression | None) -> None:
    """A loss given by its name, or as a function."""
    source = draft.source
    if isinstance(loss, cst.Name) and len(bound := source.definitions(loss)) == 1:
        loss = bound[0].value or loss
    word = str(loss.evaluated_value) if isinstance(loss, cst.SimpleString) else ""
    package, _, name = source.name(loss).rpartition(".")
    word = word or (name if package == "keras.losses" else "")
    if loss is not None and word in _LOSSES:
        draft.replace(loss, f"{draft.spell(f'keras.losses.{_LOSSES[word]}')}(from_logits=True)")


def _bare(draft: SourceDraft, call: cst.Call) -> None:
    """Take the softmax or the sigmoid away from what closes the network."""
    source, arg = draft.source, given_activation(draft.source, call)
    squashes = arg is not None and activation(source, arg.value) in _SQUASHING
    if kind(source, call) not in {"Activation", "Softmax", ""}:
        if squashes and arg is not None:
            arguments.change(draft, call, {}, drop=[arg])
    elif squashes or kind(source, call) == "Softmax":
        _without(draft, call)
    elif activation(source, call.func) in _SQUASHING and call.args:
        draft.replace(call, source.code(call.args[0].value))


def _without(draft: SourceDraft, call: cst.Call) -> None:
    """Take a layer away that is nothing but an activation."""
    source, above = draft.source, draft.source.parent(call)
    outer = None if above is None else source.parent(above)
    if isinstance(above, cst.Call) and above.func is call and above.args:
        draft.replace(above, source.code(above.args[0].value))
    elif isinstance(above, cst.Element) and isinstance(outer, cst.List) and len(outer.elements) > 1:
        draft.cut(source.end(outer.elements[-2]), source.end(above))
    elif isinstance(outer, cst.Call) and _alone(source, outer):
        start = source.line_start(outer)
        draft.cut(start, source.text.index("\n", source.end(outer)) + 1)
    else:
        raise Manual(call)


def _alone(source: Source, call: cst.Call) -> bool:
    """Whether a ``model.add(...)`` is a line of its own, with another line behind it."""
    statement = source.parent(call)
    line = None if statement is None else source.parent(statement)
    whole = isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1
    return whole and isinstance(statement, cst.Expr) and "\n" in source.text[source.end(call) :]
