"""The modules that a Sequential or a ModuleList is given, also by way of a list that grows step by step."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script.counting import length
from evengrad.fixing.patch.script.source import Source

_BRANCHES = (cst.If, cst.While, cst.Try)


def elements(call: cst.Call) -> list[cst.BaseExpression] | None:
    """The elements of ``Sequential(a, b)``, ``ModuleList([a, b])``; None where they are not all shown."""
    values = [arg.value for arg in call.args]
    if len(values) == 1 and isinstance(values[0], cst.List):
        plain = [e.value for e in values[0].elements if isinstance(e, cst.Element)]
        return plain if len(plain) == len(values[0].elements) else None
    return None if any(arg.star or arg.keyword for arg in call.args) else values


def parts(source: Source, call: cst.Call) -> list[cst.BaseExpression | None]:
    """The elements, and comprehensions of them; None for what is not shown."""
    if (plain := elements(call)) is not None:
        return list(plain)
    found: list[cst.BaseExpression | None] = []
    for arg in call.args:
        shown = not arg.star and not arg.keyword
        if arg.star == "*" and isinstance(arg.value, cst.Name):
            found += _built(source, arg.value, call) or [None]
        elif shown or (arg.star == "*" and isinstance(arg.value, cst.GeneratorExp | cst.ListComp)):
            found.append(arg.value)
        else:
            found.append(None)
    return found


def _built(source: Source, name: cst.Name, at: cst.CSTNode) -> list[cst.BaseExpression] | None:
    """The elements of a list by the time of ``at``, those of a loop as often as it runs; None where that cannot
    be told.
    """
    function = source.around(at, cst.FunctionDef)
    groups: list[tuple[cst.For | None, list[cst.BaseExpression]]] = []
    statements = [*source.all(cst.Assign), *source.all(cst.AugAssign), *source.all(cst.Expr)]
    for node in sorted(statements, key=source.start):
        if source.around(node, cst.FunctionDef) is not function or source.start(
            node
        ) > source.start(at):
            continue
        added = _added(source, node, name.value)
        if added is None:
            return None
        if not added:
            continue
        loop = source.around(node, cst.For)
        if _branched(source, node) or (loop is not None and source.around(loop, cst.For)):
            return None
        if groups and loop is not None and groups[-1][0] is loop:
            groups[-1][1].extend(added)
        else:
            groups.append((loop, added))
    return _unrolled(source, groups)


def _unrolled(
    source: Source, groups: list[tuple[cst.For | None, list[cst.BaseExpression]]]
) -> list[cst.BaseExpression] | None:
    found: list[cst.BaseExpression] = []
    for loop, added in groups:
        times = 1 if loop is None else length(source, loop.iter)
        if times is None:
            return None
        found += added * times
    return found


def _added(source: Source, node: cst.CSTNode, name: str) -> list[cst.BaseExpression] | None:
    """What a statement puts behind the elements of that list; None where it does something else to it."""
    if isinstance(node, cst.Assign) and source.code(node.targets[0].target) == name:
        return _elements(node.value)
    if isinstance(node, cst.AugAssign) and source.code(node.target) == name:
        return _elements(node.value) if isinstance(node.operator, cst.AddAssign) else None
    for call in source.all(cst.Call, node):
        owner, _, verb = source.code(call.func).rpartition(".")
        if owner == name and verb == "append":
            return [call.args[0].value]
        if owner == name:
            return _elements(call.args[0].value) if verb == "extend" else None
    return []


def _elements(value: cst.BaseExpression) -> list[cst.BaseExpression] | None:
    if not isinstance(value, cst.List):
        return None
    plain = [e.value for e in value.elements if isinstance(e, cst.Element)]
    return plain if len(plain) == len(value.elements) else None


def _branched(source: Source, node: cst.CSTNode) -> bool:
    """Whether a statement runs on some condition (``if __name__ == ...`` aside)."""
    above = source.parent(node)
    while above is not None and not isinstance(above, cst.FunctionDef):
        if isinstance(above, _BRANCHES):
            main = isinstance(above, cst.If) and "__name__" in source.code(above.test)
            if not main:
                return True
        above = source.parent(above)
    return False
