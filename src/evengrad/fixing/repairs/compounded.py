"""Keras: a LearningRateScheduler whose decay is taken once an epoch, not of what it gave before."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "rate_gone"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """``lr * 0.9 ** epoch`` of the rate that the last epoch had is ``lr * 0.9``."""
    for call in source.all(cst.Call):
        if last(source, call) != "LearningRateScheduler" or not call.args:
            continue
        function = _function(source, call.args[0].value)
        if function is None or len(function.params.params) < 2:
            continue
        epoch, rate = (p.name.value for p in function.params.params[:2])
        for power in source.all(cst.BinaryOperation, function):
            if not isinstance(power.operator, cst.Power) or not _names(source, power.right, epoch):
                continue
            whole = source.parent(power)
            if isinstance(whole, cst.BinaryOperation) and _names(source, whole, rate):
                draft = SourceDraft(source)
                draft.replace(power, source.code(power.left))
                words = msg("{code} once an epoch", code=source.code(power.left))
                yield words, draft


def _function(source: Source, given: cst.BaseExpression) -> cst.FunctionDef | cst.Lambda | None:
    if isinstance(given, cst.Lambda):
        return given
    bound = source.definitions(given)
    found = bound[0].node if len(bound) == 1 else None
    return found if isinstance(found, cst.FunctionDef) else None


def _names(source: Source, node: cst.CSTNode, name: str) -> bool:
    return any(one.value == name for one in source.all(cst.Name, node))
