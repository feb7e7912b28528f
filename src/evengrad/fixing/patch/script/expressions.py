"""Expressions of a script by the line that a traceback would give."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Where


def at(source: Source, where: Where | None) -> cst.BaseExpression | None:
    """The expression that a place names; where it names its line only, the largest one in that."""
    found = on(source, where)
    if where is None or not found:
        return None
    exact = [node for node in found if _plain(source, node) == where.code.strip()]
    return (exact or found)[0]


def on(source: Source, where: Where | None) -> list[cst.BaseExpression]:
    """The expressions of a line, the largest first."""
    if where is None:
        return []
    own = [node for node in source.expressions() if source.line(node) == where.line]
    return sorted(own, key=lambda node: (source.start(node) - source.end(node), source.start(node)))


def calls(source: Source, where: Where | None, *names: str) -> Iterator[cst.Call]:
    """Calls in the named expression, or else in its line, whose last name is one of these."""
    place = at(source, where)
    inner = [] if place is None else source.all(cst.Call, place)
    for node in [*inner, *(node for node in on(source, where) if node not in inner)]:
        if isinstance(node, cst.Call) and last(source, node) in names:
            yield node


def last(source: Source, call: cst.Call) -> str:
    """The last part of what a call calls: "sqrt" of ``torch.sqrt(x)`` and of ``x.sqrt()``."""
    return (source.called(call) or source.code(call.func)).rpartition(".")[2]


def is_method(source: Source, call: cst.Call) -> bool:
    """Whether it is called on a value, as ``x.sqrt()`` is."""
    return isinstance(call.func, cst.Attribute) and not source.called(call)


def atom(source: Source, node: cst.BaseExpression) -> str:
    """As written, in brackets where a method call could not be hung on it."""
    code = source.code(node)
    simple = isinstance(node, cst.Name | cst.Attribute | cst.Call | cst.Subscript)
    return code if simple or node.lpar else f"({code})"


def in_torch(source: Source) -> bool:
    """Whether a script computes with PyTorch's functions; else with those of TensorFlow or Keras."""
    names = {alias.evaluated_name.partition(".")[0] for alias in source.all(cst.ImportAlias)}
    modules = {
        source.code(statement.module).partition(".")[0]
        for statement in source.all(cst.ImportFrom)
        if statement.module is not None
    }
    return "torch" in names | modules and not {"tensorflow", "keras"} & (names | modules)


def _plain(source: Source, node: cst.BaseExpression) -> str:
    return source.text[source.start(node) : source.end(node)].strip()
