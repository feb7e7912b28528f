"""Where a script makes the data that it uses in a line: the name, and the statement that binds it."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source

_FAR = 8  # names between, at most


def origin(source: Source, node: cst.BaseExpression) -> tuple[str, cst.CSTNode] | None:
    """Back through batches, loaders, data sets and splits to a name that one statement outside of any loop
    binds; None where the way is not that plain.
    """
    for _ in range(_FAR):
        name = _root(node)
        if name is None:
            return None
        bound = source.definitions(name)
        if not bound:
            return None
        place = bound[-1].node
        further = _drawn(source, place) or _split(source, place)
        if further is not None:
            node = further
            continue
        statement = source.statement(place)
        looped = source.around(place, cst.For) or source.around(place, cst.While)
        made = bound[-1].value is not None or source.around(place, cst.Assign) is not None
        if not made or looped is not None or statement is None:
            return None
        return name.value, statement
    return None


def _root(node: cst.BaseExpression) -> cst.Name | None:
    """``price`` of ``price[i].to(device)``."""
    while not isinstance(node, cst.Name):
        if isinstance(node, cst.Subscript):
            node = node.value
        elif isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
            node = node.func.value
        else:
            return None
    return node


def _drawn(source: Source, place: cst.CSTNode) -> cst.BaseExpression | None:
    """What a loop's variable is drawn from: ``for x, price in loader``."""
    loop = source.around(place, cst.For)
    if loop is None or not source.within(place, loop.target):
        return None
    index = _index(source, loop.target, place)
    made = _value(source, loop.iter)
    while isinstance(made, cst.Call) and index is not None:
        if last(source, made) in {"TensorDataset", "zip"}:
            return made.args[index].value if index < len(made.args) else None
        if last(source, made) == "from_tensor_slices" and made.args:
            given = made.args[0].value
            inside = given.elements if isinstance(given, cst.Tuple) else ()
            return inside[index].value if index < len(inside) else None
        inner = made.func.value if isinstance(made.func, cst.Attribute) else None
        if not isinstance(inner, cst.Call):  # not ``from_tensor_slices(...).batch(32)``
            inner = made.args[0].value if made.args else None
        made = None if inner is None else _value(source, inner)
    return None


def _split(source: Source, place: cst.CSTNode) -> cst.BaseExpression | None:
    """What was split: ``x, x_test, y, y_test = train_test_split(x_all, y_all)``."""
    assign = source.around(place, cst.Assign)
    if assign is None or not isinstance(assign.value, cst.Call):
        return None
    index = _index(source, assign.targets[0].target, place)
    given = [arg.value for arg in assign.value.args if arg.keyword is None]
    if index is None or last(source, assign.value) != "train_test_split":
        return None
    return given[index // 2] if index // 2 < len(given) else None


def _index(source: Source, target: cst.CSTNode, place: cst.CSTNode) -> int | None:
    """Its place in a tuple; 0 where it is alone."""
    while isinstance(target, cst.Tuple | cst.List):
        found = [i for i, e in enumerate(target.elements) if source.within(place, e.value)]
        if len(found) != 1:
            return None
        element = target.elements[found[0]].value
        if not isinstance(element, cst.Tuple | cst.List):
            return found[0]
        target = element
    return 0


def _value(source: Source, node: cst.BaseExpression) -> cst.BaseExpression | None:
    """What a name was given, where it was given one thing."""
    if isinstance(node, cst.Call) and last(source, node) == "enumerate" and node.args:
        node = node.args[0].value
    if not isinstance(node, cst.Name):
        return node
    bound = source.definitions(node)
    return bound[0].value if len(bound) == 1 else None
