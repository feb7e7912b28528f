"""Other inputs: standardised or finite, where the model reads them."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from evengrad.change import Finite, Inputs
from evengrad.patch import arguments, torch_modules
from evengrad.patch.draft import Draft, Manual
from evengrad.patch.keras_head import root_classes, root_sequentials
from evengrad.patch.sequence import in_front
from evengrad.patch.source import Source
from evengrad.patch.torch_head import roots
from evengrad.patch.torch_optimizers import models, optimizers


def torch(draft: Draft, change: Inputs) -> None:
    """First thing in the model's ``forward``; else behind the one place that makes the data."""
    _torch(draft, lambda name: _line(name, change))


def torch_finite(draft: Draft, _change: Finite) -> None:
    """At the same place."""
    function = draft.spell("torch.nan_to_num")
    _torch(draft, lambda name: f"{name} = {function}({name}, 0.0, 0.0, 0.0)")


def _torch(draft: Draft, line: Callable[[str], str]) -> None:
    """line: the statement about a tensor of that name."""
    source = draft.source
    classes = roots(source)
    if len(classes) == 1:
        first(draft, torch_modules.method(classes[0], "forward"), line)
        return
    model = models(source, optimizers(source)[0])
    if model is None:
        raise Manual()
    calls = [
        c for c in source.all(cst.Call) if source.code(c.func) == source.code(model) and c.args
    ]
    if not calls:
        raise Manual()
    data = [_whole(call.args[0].value) for call in calls]
    bound = [b.node for b in source.definitions(data[0])]
    places = [node for node in bound if _assigned(source, node)]
    if len({source.code(d) for d in data}) > 1 or not bound or len(places) < len(bound):
        raise Manual(calls[0], "before")
    draft.after(places[-1], [line(source.code(data[0]))])


def _whole(data: cst.BaseExpression) -> cst.BaseExpression:
    """``x`` of ``x[rows]``."""
    while isinstance(data, cst.Subscript):
        data = data.value
    return data


def _assigned(source: Source, node: cst.CSTNode) -> bool:
    """Whether a name is bound by a statement that runs once: no loop's variable, no parameter."""
    return isinstance(source.statement(node), cst.Assign) and source.around(node, cst.For) is None


def keras(draft: Draft, change: Inputs) -> None:
    """A Rescaling layer in front of a Sequential or behind the Input; the first thing in a ``call``."""
    source = draft.source
    scale, offset = 1 / change.std, -change.mean / change.std
    layer = f"{draft.spell('keras.layers.Rescaling')}({scale:.4g}, offset={offset:.4g}"
    classes = root_classes(source)
    if len(classes) == 1:
        first(draft, torch_modules.method(classes[0], "call"), lambda name: _line(name, change))
        return
    lists = root_sequentials(source)
    inputs = [a for a in source.all(cst.Assign) if source.called(a.value) == "keras.Input"]
    if len(lists) == 1 and lists[0]:
        _in_front(draft, lists[0], layer)
    elif len(inputs) == 1 and not lists:
        _behind(draft, inputs[0], layer)
    else:
        raise Manual(inputs[0] if inputs else None, "after")


def _line(name: str, change: Inputs) -> str:
    sign, mean = ("+", -change.mean) if change.mean < 0 else ("-", change.mean)
    return f"{name} = ({name} {sign} {mean:.4g}) / {change.std:.4g}"


def first(draft: Draft, function: cst.FunctionDef | None, line: Callable[[str], str]) -> None:
    """The statement in front of all others of a method that takes one tensor, but behind one that makes that
    finite.
    """
    given = [] if function is None else [p.name.value for p in function.params.params]
    if function is None or len([n for n in given if n not in {"training", "mask"}]) != 2:
        raise Manual(function)
    body = function.body
    statements = list(body.body)
    if isinstance(body, cst.IndentedBlock) and function.get_docstring() is not None:
        statements = statements[1:]
    code = line(given[1])
    at = statements[0] if statements else function
    if isinstance(at, cst.SimpleStatementLine):
        at = at.body[0]
    if "nan_to_num(" in draft.source.code(at):
        draft.after(at, [code])
    else:
        draft.before(at, [code])


def _in_front(draft: Draft, layers: list[cst.BaseExpression], layer: str) -> None:
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


def _before_element(draft: Draft, element: cst.BaseExpression, code: str) -> None:
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


def _behind(draft: Draft, assigned: cst.Assign, layer: str) -> None:
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


def _used(source: Source, node: cst.Name) -> bool:
    """Whether a name is read there, but for telling ``keras.Model`` where it begins."""
    above = source.parent(node)
    if isinstance(above, cst.AssignTarget | cst.Param):
        return False
    if isinstance(above, cst.Arg) and above.keyword is node:
        return False
    if isinstance(above, cst.Attribute) and above.attr is node:
        return False
    return source.called(source.around(node, cst.Call)) != "keras.Model"


def _feeds(source: Source, node: cst.Name) -> bool:
    """Whether a layer is called on it, or it only gets another name (``x = inputs``)."""
    above = source.parent(node)
    if isinstance(above, cst.Assign):
        return True
    return isinstance(above, cst.Arg) and isinstance(source.parent(above), cst.Call)
