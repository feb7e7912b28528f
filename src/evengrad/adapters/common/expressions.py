"""The user's own words for what an operation was given: an argument in a line of code, a variable, a target."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Mapping
from types import FrameType, ModuleType
from typing import Any

from evengrad.adapters.common.source import Spot, is_own

_LONGEST = 80


def argument(spot: Spot, function: str, index: int) -> str:
    """What stands in the user's code for an operand; empty where that cannot be told.

    Args:
        spot: of the call or operator.
        function: the plain name of what is called: where the code calls a method of that name, its object is
            the first operand.
        index: of the operand, from 0.
    """
    code = spot.where().code
    expression = _parsed(code)
    if expression is None:
        return ""
    found = _operands(expression, function, spot.names)
    if index >= len(found):
        return ""
    text = ast.get_source_segment(code, found[index]) or ast.unparse(found[index])
    return text if len(text) <= _LONGEST else ""


def call_and_operand(code: str, place: int) -> tuple[str, str]:
    """What a line calls, and with what: ``tf.sqrt(d)`` gives "tf.sqrt" and "d"; "" where it is not known.

    Args:
        code: the expression, as it stands there.
        place: which argument of a call is meant, from 0.
    """
    node = _parsed(code.strip().rstrip(":"))
    match node:
        case ast.Call(func=function, args=given, keywords=named):
            values = [*given, *(k.value for k in named)]
            at = min(place, len(values) - 1)
            return ast.unparse(function), ast.unparse(values[at]) if values else ""
        case ast.BinOp(left=left, op=ast.Pow()):
            return "**", ast.unparse(left)
        case ast.BinOp(op=ast.Div() | ast.FloorDiv() | ast.Mod(), right=right):
            return "/", ast.unparse(right)
        case ast.BinOp(left=left):
            return "", ast.unparse(left)
    return "", ""


_SIGNS: dict[type[ast.operator], str] = {
    ast.Div: "the division /",
    ast.FloorDiv: "the division //",
    ast.Pow: "the power **",
    ast.Mult: "the product *",
    ast.Add: "the sum +",
    ast.Sub: "the difference -",
    ast.MatMult: "the product @",
    ast.Mod: "the remainder %",
}


_REFLECTED = frozenset(
    ["__rtruediv__", "__rdiv__", "__rfloordiv__", "__rpow__", "__rsub__", "__rmatmul__"]
)
"""Called where the left operand is none of torch's: their own is the right one."""


def operator(spot: Spot) -> str:
    """What an operator in the user's code is called, "the division /"; empty where it is no operator."""
    node = _parsed(spot.where().code)
    return _SIGNS.get(type(node.op), "") if isinstance(node, ast.BinOp) else ""


def assigned(spot: Spot) -> str:
    """The variable that the line gives a value; empty where it gives none, or several."""
    line = linecache.getline(spot.code.co_filename, spot.line).strip()
    try:
        statement = ast.parse(line).body[0]
    except (SyntaxError, IndexError):
        return ""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        target = target.value if isinstance(target, ast.Subscript) else target
        return ast.unparse(target) if isinstance(target, ast.Name | ast.Attribute) else ""
    return ""


def name_of(value: Any, frame: FrameType | None) -> str:
    """The user's variable that holds this very object, the innermost one from this frame outwards; or ""."""
    while frame is not None:
        if is_own(frame.f_code.co_filename):
            for name, held in _reachable(frame.f_locals):
                if held is value:
                    return name
        frame = frame.f_back
    return ""


def _reachable(names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Variables, then what lies in the dicts, lists and ``self`` among them."""
    own = [(name, held) for name, held in list(names.items()) if name.isidentifier()]
    own = [(name, held) for name, held in own if not name.startswith("_")]
    yield from own
    for name, held in own:
        if isinstance(held, Mapping) and len(held) < 100:
            yield from ((f"{name}[{key!r}]", part) for key, part in list(held.items()))
        elif isinstance(held, list | tuple) and len(held) < 100:
            yield from ((f"{name}[{index}]", part) for index, part in enumerate(held))
        elif name == "self":
            yield from ((f"self.{key}", part) for key, part in list(vars(held).items()))


def _parsed(code: str) -> ast.expr | None:
    try:
        statement = ast.parse(code).body[0]
    except (SyntaxError, IndexError):
        return None
    found = getattr(statement, "value", None)
    return found if isinstance(found, ast.expr) else None


def _operands(node: ast.expr, function: str, names: Mapping[str, Any]) -> list[ast.expr]:
    match node:
        case ast.BinOp(left=left, right=right):
            return [right, left] if function in _REFLECTED else [left, right]
        case ast.UnaryOp(operand=operand):
            return [operand]
        case ast.Subscript(value=value):
            return [value]
        case ast.Call(func=func, args=args, keywords=keywords):
            given = [*args, *(keyword.value for keyword in keywords)]
            method = isinstance(func, ast.Attribute) and func.attr == function
            if method and not _is_module(func.value, names):  # type: ignore[attr-defined]
                return [func.value, *given]  # type: ignore[attr-defined]
            return given
    return []


def _is_module(node: ast.expr, names: Mapping[str, Any]) -> bool:
    """Whether an expression such as ``torch`` or ``torch.nn.functional`` is a module."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and isinstance(names.get(node.id), ModuleType)
