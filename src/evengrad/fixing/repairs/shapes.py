"""Outputs and targets of one shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import atom, in_torch, on
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "shapes_broadcast"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """The targets with one axis more, or one less; else the output."""
    grow = len(_shape(fact, "target")) <= len(_shape(fact, "output"))
    for first, second in list(_pairs(source, fact)):
        output, target = (first, second) if fact.values.get("first", True) else (second, first)
        for node, other, more in (
            (target, output, grow),
            (output, target, not grow),
            (output, target, grow),
            (target, output, not grow),
        ):
            code = _code(source, node, fact, more)
            if code is not None:
                draft = SourceDraft(source)
                draft.replace(node, code)
                yield (
                    msg("one shape: {code} against {code2}", code=code, code2=source.code(other)),
                    draft,
                )


def _pairs(source: Source, fact: Fact) -> Iterator[tuple[cst.BaseExpression, cst.BaseExpression]]:
    """Both sides of a loss function, of a difference or a product, at that line."""
    for node in on(source, fact.where):
        if isinstance(node, cst.Call) and len(node.args) >= 2:
            yield node.args[0].value, node.args[1].value
        elif isinstance(node, cst.BinaryOperation) and isinstance(
            node.operator, cst.Subtract | cst.Multiply
        ):
            yield node.left, node.right


def _code(source: Source, node: cst.BaseExpression, fact: Fact, more: bool) -> str | None:
    """A node with one axis more or less, where the shapes have it; None of what has no axes."""
    if isinstance(node, cst.BaseString | cst.BaseNumber | cst.Lambda):
        return None
    code, torch = atom(source, node), in_torch(source)
    axis = max(len(_shape(fact, "output")), len(_shape(fact, "target"))) - 1 or 1
    if more:
        return f"{code}.unsqueeze({axis})" if torch else f"{code}[..., None]"
    return f"{code}.squeeze({axis})" if torch else f"{code}[..., 0]"


def _shape(fact: Fact, name: str) -> Sequence[int]:
    return tuple(fact.values.get(name) or ())
