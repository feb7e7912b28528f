"""Classes, functions and methods of a script."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script.source import Source


def own_class(source: Source, call: cst.Call | None) -> cst.ClassDef | None:
    """The script's own class that a call makes an instance of."""
    if call is None or not isinstance(call.func, cst.Name):
        return None
    bound = source.definitions(call.func)
    return bound[0].node if len(bound) == 1 and isinstance(bound[0].node, cst.ClassDef) else None


def own_function(source: Source, call: cst.Call | None) -> cst.FunctionDef | None:
    """The script's own function that is called."""
    if call is None or not isinstance(call.func, cst.Name):
        return None
    bound = source.definitions(call.func)
    return bound[0].node if len(bound) == 1 and isinstance(bound[0].node, cst.FunctionDef) else None


def method(owner: cst.ClassDef, name: str) -> cst.FunctionDef | None:
    """A method of a class by its name."""
    for statement in owner.body.body:
        if isinstance(statement, cst.FunctionDef) and statement.name.value == name:
            return statement
    return None


def returned(source: Source, function: cst.FunctionDef) -> list[cst.BaseExpression]:
    """What a function returns, one expression a return statement; not those of functions within it."""
    found = source.all(cst.Return, function)
    own = [r for r in found if source.around(r, cst.FunctionDef) is function]
    return [r.value for r in own if r.value is not None]


def before(source: Source, name: cst.Name) -> cst.BaseExpression | None:
    """What a name was last given before its use, in the order of the text."""
    start = source.start(name)
    bound = [b for b in source.definitions(name) if b.value is not None]
    earlier = [b.value for b in bound if b.value is not None and source.end(b.value) < start]
    return earlier[-1] if earlier else None
