"""Outputs and targets of one shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import atom, in_torch, on
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact

FACT = "shapes_broadcast"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """The targets with one axis more, or one less; else the output."""
    pairs = list(_pairs(source, fact))
    for first, second in pairs:
        for node, other in ((second, first), (first, second)):
            for words, code in _codes(source, node, fact):
                draft = SourceDraft(source)
                draft.replace(node, code)
                yield f"one shape: {words} against {source.code(other)}", draft


def _pairs(source: Source, fact: Fact) -> Iterator[tuple[cst.BaseExpression, cst.BaseExpression]]:
    """Output and targets of a loss function, or of a difference, at that line."""
    for node in on(source, fact.where):
        if isinstance(node, cst.Call) and len(node.args) >= 2:
            yield node.args[0].value, node.args[1].value
        elif isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Subtract):
            yield node.left, node.right


def _codes(source: Source, node: cst.BaseExpression, fact: Fact) -> Iterator[tuple[str, str]]:
    """A node with another number of axes, and how to say it; one more if the shapes say so, else one less."""
    output, target = _shape(fact, "output"), _shape(fact, "target")
    if isinstance(node, cst.BaseString | cst.BaseNumber | cst.Lambda):
        return
    code, torch = atom(source, node), in_torch(source)
    axis = max(len(output), len(target)) - 1 or 1
    more = f"{code}.unsqueeze({axis})" if torch else f"{code}[..., None]"
    less = f"{code}.squeeze({axis})" if torch else f"{code}[..., 0]"
    yield more, more
    yield less, less


def _shape(fact: Fact, name: str) -> Sequence[int]:
    found = fact.values.get(name) or ()
    return tuple(found)
