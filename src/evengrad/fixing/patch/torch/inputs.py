"""Other inputs: standardised or finite, where the model reads them."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from evengrad.fixing.patch.script import python
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.first_line import _line, first
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch.head import roots
from evengrad.fixing.patch.torch.optimizers import models, optimizers


def standardise(draft: SourceDraft, mean: float, std: float) -> None:
    """First thing in the model's ``forward``; else behind the one place that makes the data."""
    _at_first(draft, lambda name: _line(name, mean, std))


def finite_inputs(draft: SourceDraft) -> None:
    """At the same place."""
    function = draft.spell("torch.nan_to_num")
    _at_first(draft, lambda name: f"{name} = {function}({name}, 0.0, 0.0, 0.0)")


def _at_first(draft: SourceDraft, line: Callable[[str], str]) -> None:
    """line: the statement about a tensor of that name."""
    source = draft.source
    classes = roots(source)
    if len(classes) == 1:
        first(draft, python.method(classes[0], "forward"), line)
        return
    model = models(source, optimizers(source)[0])
    if model is None:
        raise Manual()
    calls = [
        c for c in source.all(cst.Call) if source.code(c.func) == source.code(model) and c.args
    ]
    if not calls:
        raise Manual()
    data = [_whole(call.args[0].value) for call in calls]
    bound = [b.node for b in source.definitions(data[0])]
    places = [node for node in bound if _assigned(source, node)]
    if len({source.code(d) for d in data}) > 1 or not bound or len(places) < len(bound):
        raise Manual(calls[0], "before")
    draft.after(places[-1], [line(source.code(data[0]))])


def _whole(data: cst.BaseExpression) -> cst.BaseExpression:
    """``x`` of ``x[rows]``."""
    while isinstance(data, cst.Subscript):
        data = data.value
    return data


def _assigned(source: Source, node: cst.CSTNode) -> bool:
    """Whether a name is bound by a statement that runs once: no loop's variable, no parameter."""
    return isinstance(source.statement(node), cst.Assign) and source.around(node, cst.For) is None
