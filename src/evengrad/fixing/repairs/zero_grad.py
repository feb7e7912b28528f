"""Gradients set to zero in each step."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.moving import cut_line
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import optimizers
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "gradients_kept"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Before backward, where that stands beside the step; else behind the step."""
    backwards = [call for call in source.all(cst.Call) if last(source, call) == "backward"]
    steps = _steps(source)
    if not steps:
        yield from _of_model(source, backwards)
        return
    before, after = SourceDraft(source), SourceDraft(source)
    for step in steps:
        beside = [b for b in backwards if _loop(source, b) is _loop(source, step.call)]
        for backward in beside[:1]:
            before.before(backward, [f"{step.optimizer}.zero_grad()"])
            for late in _between(source, backward, step.call):
                cut_line(before, late)
        after.after(step.call, [f"{step.optimizer}.zero_grad()"])
    yield msg("the gradients are set to zero before backward()"), before
    yield msg("the gradients are set to zero behind each step"), after


def _steps(source: Source) -> list[optimizers.StepCall]:
    try:
        made = optimizers.optimizers(source)
    except Manual:
        made = []
    return optimizers.steps(source, made)


def _of_model(source: Source, backwards: list[cst.Call]) -> Iterator[tuple[str, SourceDraft]]:
    """Keras on PyTorch, whose optimizer has no ``zero_grad``."""
    names = [
        source.code(node.value)
        for node in source.all(cst.Attribute)
        if node.attr.value in {"trainable_weights", "trainable_variables"}
    ]
    if names and backwards:
        draft = SourceDraft(source)
        draft.before(backwards[0], [f"{names[0]}.zero_grad()"])
        yield msg("the gradients are set to zero before backward()"), draft


def _between(source: Source, backward: cst.Call, step: cst.Call) -> list[cst.Call]:
    """Where the gradients are emptied before they are used."""
    return [
        call
        for call in source.all(cst.Call)
        if last(source, call) == "zero_grad"
        and source.start(backward) < source.start(call) < source.start(step)
    ]


def _loop(source: Source, node: cst.CSTNode) -> cst.CSTNode | None:
    """The innermost loop or function around it."""
    above = source.parent(node)
    while above is not None and not isinstance(above, cst.For | cst.While | cst.FunctionDef):
        above = source.parent(above)
    return above
