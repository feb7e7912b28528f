"""Inputs less their mean, divided by their standard deviation."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.keras.head import root_classes, root_sequentials
from evengrad.fixing.patch.script import arguments, python
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.first_line import _feeds, _line, _used, first
from evengrad.fixing.patch.script.sequence import in_front


def standardise(draft: SourceDraft, mean: float, std: float) -> None:
    """A Rescaling layer in front of a Sequential or behind the Input; the first thing in a ``call``."""
    source = draft.source
    scale, offset = 1 / std, -mean / std
    layer = f"{draft.spell('keras.layers.Rescaling')}({scale:.4g}, offset={offset:.4g}"
    classes = root_classes(source)
    if len(classes) == 1:
        first(draft, python.method(classes[0], "call"), lambda name: _line(name, mean, std))
        return
    lists = root_sequentials(source)
    inputs = [a for a in source.all(cst.Assign) if source.called(a.value) == "keras.Input"]
    if len(lists) == 1 and lists[0]:
        _in_front(draft, lists[0], layer)
    elif len(inputs) == 1 and not lists:
        _behind(draft, inputs[0], layer)
    else:
        raise Manual(inputs[0] if inputs else None, "after")


def _in_front(draft: SourceDraft, layers: list[cst.BaseExpression], layer: str) -> None:
    """Before the first layer of a Sequential, behind its Input."""
    source, first = draft.source, layers[0]
    if source.called(first) in {"keras.Input", "keras.layers.InputLayer"}:
        if len(layers) < 2:
            raise Manual(first, "after")
        first = layers[1]
    shape = arguments.argument(first, "input_shape") if isinstance(first, cst.Call) else None
    if shape is not None and isinstance(first, cst.Call):
        layer += f", {source.code(shape.with_changes(comma=cst.MaybeSentinel.DEFAULT))}"
        arguments.change(draft, first, {}, drop=[shape])
    _before_element(draft, first, f"{layer})")


def _before_element(draft: SourceDraft, element: cst.BaseExpression, code: str) -> None:
    """In front of an element of a list, or of the ``model.add()`` of one."""
    source, above = draft.source, draft.source.parent(element)
    if isinstance(above, cst.Arg):
        add = source.parent(above)
        assert isinstance(add, cst.Call)
        loop = source.around(add, cst.For)
        if loop is not None and source.around(loop, cst.For) is not None:
            raise Manual(loop, "before")
        draft.before(loop or add, [f"{source.code(add.func)}({code})"])
        return
    in_front(draft, element, code)


def _behind(draft: SourceDraft, assigned: cst.Assign, layer: str) -> None:
    """Around the one use of a functional model's input."""
    source, name = draft.source, assigned.targets[0].target
    uses = [
        node
        for node in source.all(cst.Name)
        if isinstance(name, cst.Name) and node.value == name.value and _used(source, node)
    ]
    if len(uses) != 1 or not _feeds(source, uses[0]):
        raise Manual(assigned, "after")
    draft.replace(uses[0], f"{layer})({source.code(uses[0])})")
