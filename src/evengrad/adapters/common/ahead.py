"""Whether a script that has begun a training may begin another one, by its source from where it is now."""

from __future__ import annotations

import ast
import inspect
import itertools
import linecache
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from types import FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from evengrad.adapters.common.source import is_own, shown
from evengrad.values.fact import Where

Begins = Callable[[ast.Call, FrameType], bool]
"""Whether a call, in code that is reached from this frame, begins a training."""

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_MADE_IN_PLACE = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

_RUNS = "execute"
"""Our own function that runs a script."""


def ahead(frame: FrameType | None, begins: Begins, *, again: bool = True) -> Where | None:
    """The first line, from here on, that begins another training; None where none is to be seen.

    Args:
        frame: where to look from, outwards.
        begins: knows one.
        again: whether a loop around this line counts, which comes back to it.
    """
    for one in _frames(frame):
        rest = list(_after(_body_of(one), one.f_lineno, again))
        found = _first(rest, begins, one, set())
        if found is not None:
            return found
    return None


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Those of the script, outwards: below them is who runs it."""
    one = frame
    while one is not None:
        own = is_own(one.f_code.co_filename)
        if own:
            yield one
        elif one.f_code.co_name == _RUNS:
            return
        one = one.f_back


# --- the statements that are still to come --------------------------------------------------------


def _after(body: Sequence[ast.stmt], line: int, again: bool) -> Iterator[ast.AST]:
    """What follows a line in a body: not the other branch of the same ``if``."""
    at = next((i for i, one in enumerate(body) if _holds(one, line)), None)
    if at is None:
        return
    now = body[at]
    if again and (isinstance(now, _LOOPS) or _repeats(now, line)):
        yield now
    else:
        for inner in _bodies(now):
            yield from _after(inner, line, again)
    yield from body[at + 1 :]


def _repeats(statement: ast.stmt, line: int) -> bool:
    """Whether the line is in a comprehension."""
    nodes = ast.walk(statement)
    simple = not any(True for body in _bodies(statement) for _ in body)
    return simple and any(isinstance(n, _MADE_IN_PLACE) and _holds(n, line) for n in nodes)


def _bodies(statement: ast.stmt) -> Iterator[Sequence[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        yield getattr(statement, name, [])
    for handler in getattr(statement, "handlers", []):
        yield handler.body


def _holds(node: Any, line: int) -> bool:
    return bool(_begin(node) <= line <= (node.end_lineno or node.lineno))


def _body_of(frame: FrameType) -> Sequence[ast.stmt]:
    """The body that the frame executes."""
    tree = _parsed(frame.f_code.co_filename)
    if frame.f_code.co_name == "<module>":
        return tree.body
    first = frame.f_code.co_firstlineno
    for one in ast.walk(tree):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and _begin(one) == first:
            return one.body
    return []


def _begin(node: Any) -> int:
    """Its first line, decorators too."""
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])


# --- what they call -------------------------------------------------------------------------------


def _first(
    nodes: Sequence[ast.AST], begins: Begins, frame: FrameType, seen: set[str]
) -> Where | None:
    """The first call among these, or in what they call, that begins a training. seen: names looked into."""
    for node in itertools.chain.from_iterable(map(_calls, nodes)):
        if begins(node, frame):
            return _where(node, frame)
        name = _name(node.func)
        if not name or name in seen:
            continue
        seen.add(name)
        for body, file in _bodies_called(node.func, name, frame):
            inside = _first(body, begins, frame, seen)
            if inside is not None:
                return _where(node, frame) if file != frame.f_code.co_filename else inside
    return None


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    """The calls that executing a statement makes; what it only defines is left out."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return
    if isinstance(node, ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _calls(child)


def _bodies_called(
    function: ast.expr, name: str, frame: FrameType
) -> Iterator[tuple[Sequence[ast.AST], str]]:
    """The bodies of the user's functions that this may be: by value where it has one, else by name."""
    value = _value(function, frame)
    value = value.__func__ if isinstance(value, MethodType) else value
    value = vars(value).get("__init__") if isinstance(value, type) else value
    file = frame.f_code.co_filename
    if isinstance(value, FunctionType):
        file, name = value.__code__.co_filename, value.__name__
        if not is_own(file):
            return
    elif value is not None:
        return
    tree = _parsed(file)
    for one in ast.walk(tree):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name == name:
            yield one.body, file
        elif isinstance(one, ast.ClassDef) and one.name == name:
            for inner in one.body:
                if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                    yield inner.body, file


def _value(expression: ast.expr, frame: FrameType) -> Any:
    """What an expression of names and attributes is now; None where that is not known yet."""
    if isinstance(expression, ast.Name):
        return frame.f_locals.get(expression.id, frame.f_globals.get(expression.id))
    if isinstance(expression, ast.Attribute):
        owner = _value(expression.value, frame)
        if isinstance(owner, ModuleType):
            return getattr(owner, expression.attr, None)
        return None if owner is None else inspect.getattr_static(owner, expression.attr, None)
    return None


def receiver(call: ast.Call, frame: FrameType) -> Any:
    """The object whose method is called, or its class, where that is known already; else None."""
    if not isinstance(call.func, ast.Attribute):
        return None
    owner = call.func.value
    return _value(owner.func if isinstance(owner, ast.Call) else owner, frame)


def called(call: ast.Call) -> str:
    """The plain name of what is called: its last part; empty where it has none."""
    return _name(call.func)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _where(node: ast.Call, frame: FrameType) -> Where:
    return Where(shown(frame.f_code.co_filename), node.lineno, ast.unparse(node)[:80])


def _parsed(file: str) -> ast.Module:
    """A file of the user's as a tree, without anything in it where that cannot be had."""
    linecache.checkcache(file)
    return _tree("".join(linecache.getlines(file)))


@cache
def _tree(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return ast.Module([], [])
