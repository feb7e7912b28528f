"""How many elements something of a script has, where that can be read off."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script.arguments import passed
from evengrad.fixing.patch.script.source import Source

_SAME_LENGTH = {"list", "tuple", "reversed", "enumerate", "sorted", "zip"}


def length(source: Source, value: cst.BaseExpression | None) -> int | None:
    """Of a list, a tuple, a range, a sum or a multiple of these; None where it cannot be told."""
    value = _behind(source, value)
    if isinstance(value, cst.List | cst.Tuple):
        parts = [
            length(source, e.value) if isinstance(e, cst.StarredElement) else 1
            for e in value.elements
        ]
        return _sum(parts)
    if isinstance(value, cst.BinaryOperation) and isinstance(value.operator, cst.Add):
        return _sum([length(source, value.left), length(source, value.right)])
    if isinstance(value, cst.BinaryOperation) and isinstance(value.operator, cst.Multiply):
        of, times = length(source, value.left), integer(source, value.right)
        if of is None:
            of, times = length(source, value.right), integer(source, value.left)
        return None if of is None or times is None else of * times
    return _of_call(source, value) if isinstance(value, cst.Call) and value.args else None


def integer(source: Source, value: cst.BaseExpression | None) -> int | None:
    """The value of an integer, of a name for one, of a sum of these."""
    value = _behind(source, value)
    if isinstance(value, cst.Integer):
        return int(value.evaluated_value)
    if isinstance(value, cst.BinaryOperation):
        left, right = integer(source, value.left), integer(source, value.right)
        if left is None or right is None:
            return None
        match value.operator:
            case cst.Add():
                return left + right
            case cst.Subtract():
                return left - right
            case cst.Multiply():
                return left * right
    if isinstance(value, cst.Call) and source.code(value.func) == "len" and value.args:
        return length(source, value.args[0].value)
    return None


def _of_call(source: Source, call: cst.Call) -> int | None:
    name, first = source.code(call.func).rpartition(".")[2], call.args[0].value
    if name in _SAME_LENGTH:
        return length(source, first)
    if name == "pairwise":
        of = length(source, first)
        return None if of is None else max(of - 1, 0)
    if name == "range":
        limits = [integer(source, arg.value) for arg in call.args]
        known = [limit for limit in limits if limit is not None]
        return len(range(*known)) if len(known) == len(limits) and known[2:] != [0] else None
    return None


def _sum(parts: list[int | None]) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _behind(source: Source, value: cst.BaseExpression | None) -> cst.BaseExpression | None:
    """What a name that is bound once stands for."""
    for _ in range(10):
        if not isinstance(value, cst.Name | cst.Attribute):
            return value
        bound = source.definitions(value)
        if len(bound) != 1:
            return None
        node = bound[0].node
        parameter = isinstance(node, cst.Param) or isinstance(source.parent(node), cst.Param)
        if parameter and (not isinstance(value, cst.Name) or passed(source, node, value.value)):
            return None
        value = bound[0].value or _unpacked(source, bound[0].node)
    return None


def _unpacked(source: Source, node: cst.CSTNode) -> cst.BaseExpression | None:
    """The value of one name of ``a, b = 1, 2``."""
    element, assign = source.parent(node), source.around(node, cst.Assign)
    targets = None if element is None else source.parent(element)
    if (
        assign is None
        or not isinstance(targets, cst.Tuple)
        or not isinstance(assign.value, cst.Tuple)
    ):
        return None
    if source.around(targets, cst.Assign) is not assign or isinstance(
        source.parent(targets), cst.For
    ):
        return None
    names: list[cst.CSTNode] = list(targets.elements)
    values = list(assign.value.elements)
    if (
        element is None
        or element not in names
        or len(names) != len(values)
        or targets is assign.value
    ):
        return None
    return values[names.index(element)].value
