"""Lines that a change made too long, broken at the brackets of a call."""

from __future__ import annotations

import re

import libcst as cst

from evengrad.fixing.patch.script.edits import Edit, made, split
from evengrad.fixing.patch.script.source import Source

_SHORTEST, _LONGEST, _PASSES = 100, 120, 40
_INDENT = "    "
_TAIL = re.compile(r"(\([\w.]+\))?,?\s*(#.*)?")


def wrapped(text: str, before: str) -> str:
    """The text with its new lines broken that are longer than 100 characters and than any before."""
    known = set(split(before))
    limit = min(max(_SHORTEST, *map(len, known), 0), _LONGEST)
    for _ in range(_PASSES):
        long = [line for line in split(text) if len(line) > limit and line not in known]
        edits = _edits(Source(text), long) if long else []
        if not edits:
            return text
        text = made(text, edits)
    return text


def _edits(source: Source, long: list[str]) -> list[Edit]:
    """How to break the first of these lines that can be broken."""
    numbers = [n for n, line in enumerate(split(source.text), 1) if line in long]
    for number in numbers:
        calls = [call for call in source.all(cst.Call) if call.args]
        for call in calls:
            together = len(call.args) > 1 and all(_on(source, arg, number) for arg in call.args)
            if source.line(call) < number and together:
                return _one_each(source, call)
        for call in calls:
            if _on(source, call, number) and _ends_its_line(source, call):
                return _opened(source, call)
    return []


def _on(source: Source, node: cst.CSTNode, number: int) -> bool:
    """Whether a node stands on that line alone."""
    text = source.text[source.start(node) : source.end(node)]
    return source.line(node) == number and "\n" not in text and "\r" not in text


def _ends_its_line(source: Source, call: cst.Call) -> bool:
    """Whether a call is in no brackets of its line and nothing but ``(x)`` and a comma follows it there."""
    line = split(source.text[source.line_start(call) :])[0]
    at = source.start(call) - source.line_start(call)
    before, after = line[:at], line[source.end(call) - source.line_start(call) :]
    level = sum(before.count(c) for c in "([{") - sum(before.count(c) for c in ")]}")
    plain = source.around(call, cst.IfExp) is None and ";" not in line
    applied = isinstance(call.func, cst.Call)
    return plain and not applied and level == 0 and bool(_TAIL.fullmatch(after))


def _opened(source: Source, call: cst.Call) -> list[Edit]:
    """The arguments on a line of their own."""
    newline, indent = source.module.default_newline, source.indent(call)
    first, last = source.start(call.args[0]), source.end(call) - 1
    return [
        Edit(first, first, newline + indent + _INDENT),
        Edit(source.end(call.args[-1]), last, newline + indent),
    ]


def _one_each(source: Source, call: cst.Call) -> list[Edit]:
    """Each argument on a line of its own."""
    newline, indent = source.module.default_newline, source.indent(call.args[0])
    edits = [
        Edit(source.end(arg), source.start(following), f",{newline}{indent}")
        for arg, following in zip(call.args, call.args[1:], strict=False)
    ]
    last = call.args[-1]
    if edits and not isinstance(last.comma, cst.Comma) and not last.star:
        edits.append(Edit(source.end(last), source.end(last), ","))
    return edits
