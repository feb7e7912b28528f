"""Where a setting's value comes from: a name set once, or a default of the command line."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.source import Source


def origin(source: Source, uses: Sequence[cst.BaseExpression]) -> cst.BaseExpression | None:
    """The number behind these uses of one name (``lr``, ``args.lr``), if it is there for nothing else."""
    first = uses[0]
    if isinstance(first, cst.Name):
        return _assigned(source, first, uses)
    if isinstance(first, cst.Attribute) and isinstance(first.value, cst.Name):
        return _default(source, first, uses)
    return None


def _assigned(
    source: Source, name: cst.Name, uses: Sequence[cst.BaseExpression]
) -> cst.BaseExpression | None:
    bound = source.definitions(name)
    if len(bound) != 1 or not _number(bound[0].value):
        return None
    if _is_parameter(source, bound[0].node) and arguments.passed(source, bound[0].node, name.value):
        return None
    others = [
        node
        for node in source.all(cst.Name)
        if node.value == name.value
        and node not in uses
        and node is not bound[0].node
        and not _keyword_or_attribute(source, node)
        and not _is_parameter(source, node)
        and any(d.node is bound[0].node for d in source.definitions(node))
    ]
    return bound[0].value if all(_shown(source, node) for node in others) else None


def _default(
    source: Source, attribute: cst.Attribute, uses: Sequence[cst.BaseExpression]
) -> cst.BaseExpression | None:
    word, owner = attribute.attr.value, source.code(attribute.value)
    options = [c for c in source.all(cst.Call) if _adds(c) and _destination(c) == word]
    given = arguments.value(options[0], "default") if len(options) == 1 else None
    others = [
        node
        for node in source.all(cst.Attribute)
        if source.code(node) == f"{owner}.{word}" and node not in uses and not _shown(source, node)
    ]
    return given if _number(given) and not others else None


def _adds(call: cst.Call) -> bool:
    return isinstance(call.func, cst.Attribute) and call.func.attr.value == "add_argument"


def _destination(option: cst.Call) -> str:
    """The attribute that a command line's option becomes."""
    given = arguments.value(option, "dest")
    if isinstance(given, cst.SimpleString):
        return str(given.evaluated_value)
    flags = [
        str(arg.value.evaluated_value)
        for arg in option.args
        if arg.keyword is None and isinstance(arg.value, cst.SimpleString)
    ]
    long = [flag for flag in flags if flag.startswith("--")] or flags or [""]
    return long[0].lstrip("-").replace("-", "_")


def _number(value: cst.BaseExpression | None) -> bool:
    return isinstance(value, cst.Float | cst.Integer)


def _shown(source: Source, node: cst.CSTNode) -> bool:
    """Whether a use only prints the value."""
    if source.around(node, cst.FormattedString) is not None:
        return True
    call = source.around(node, cst.Call)
    return call is not None and source.code(call.func).rpartition(".")[2] in {"print", "info"}


def _keyword_or_attribute(source: Source, node: cst.Name) -> bool:
    above = source.parent(node)
    if isinstance(above, cst.Attribute):
        return above.attr is node
    return isinstance(above, cst.Arg) and above.keyword is node


def _is_parameter(source: Source, node: cst.CSTNode) -> bool:
    return isinstance(node, cst.Param) or isinstance(source.parent(node), cst.Param)
