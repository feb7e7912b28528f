"""Weights that the loss reaches again: a detach too many."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "weights_unreached"
_MOST = 3
_STOPS = {"stop_gradient"}


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Where another step needs it, it moves there; else it goes."""
    cuts = sorted(_cuts(source), key=lambda call: _far(source, call, fact))
    for call in cuts[:_MOST]:
        yield from _moved(source, call)
        draft = SourceDraft(source)
        draft.replace(call, _inner(source, call))
        yield msg("{code} without the detach", code=source.code(call)), draft
    for node in _data(source, fact):
        draft = SourceDraft(source)
        draft.replace(node, source.code(node.value))
        yield msg("{code} itself, not its data", code=source.code(node.value)), draft
    for block in source.all(cst.With):
        names = {source.called(item.item) for item in block.items}
        if names & {"torch.no_grad", "torch.inference_mode"} and _trains(source, block):
            draft = SourceDraft(source)
            draft.replace(block.items[0].item, f"{draft.spell('torch.enable_grad')}()")
            yield msg("the forward pass with gradients"), draft


def _cuts(source: Source) -> Iterator[cst.Call]:
    for call in source.all(cst.Call):
        detached = last(source, call) == "detach" and isinstance(call.func, cst.Attribute)
        if detached and _is_output(source, call):
            continue
        if detached or (last(source, call) in _STOPS and call.args):
            yield call


def _data(source: Source, fact: Fact) -> list[cst.Attribute]:
    """``x.data`` in the line where it was seen."""
    if fact.where is None:
        return []
    found = [node for node in source.all(cst.Attribute) if node.attr.value == "data"]
    return [node for node in found if _far(source, node, fact) == 0]


def _is_output(source: Source, call: cst.Call) -> bool:
    """Whether it is on its way out of the training: ``loss.detach().item()``."""
    above = source.parent(call)
    after = above.attr.value if isinstance(above, cst.Attribute) else ""
    return after in {"item", "cpu", "numpy", "tolist"}


def _far(source: Source, call: cst.CSTNode, fact: Fact) -> int:
    """Lines from where it was seen."""
    return 0 if fact.where is None else abs(source.line(call) - fact.where.line)


def _inner(source: Source, call: cst.Call) -> str:
    if last(source, call) in _STOPS:
        return source.code(call.args[0].value)
    assert isinstance(call.func, cst.Attribute)
    return source.code(call.func.value)


def _moved(source: Source, call: cst.Call) -> Iterator[tuple[str, SourceDraft]]:
    """``fake = netG(noise).detach()`` for the first of two steps: detached there, and there alone."""
    assign = source.statement(call)
    if not isinstance(assign, cst.Assign) or assign.value is not call:
        return
    target = assign.targets[0].target
    function = source.around(assign, cst.FunctionDef)
    steps = [
        other
        for other in source.all(cst.Call)
        if last(source, other) in {"step", "apply_gradients"}
        and source.start(other) > source.end(assign)
        and source.around(other, cst.FunctionDef) is function
    ]
    if not isinstance(target, cst.Name) or len(steps) < 2:
        return
    uses = [
        name
        for name in source.all(cst.Name)
        if name.value == target.value
        and source.end(assign) < source.start(name) < source.start(steps[0])
    ]
    if not uses:
        return
    draft = SourceDraft(source)
    draft.replace(call, _inner(source, call))
    stops = last(source, call) in _STOPS
    for use in uses:
        code = f"{source.code(call.func)}({use.value})" if stops else f"{use.value}.detach()"
        draft.replace(use, code)
    yield msg("{value} is detached in the first step alone", value=target.value), draft


def _trains(source: Source, block: cst.With) -> bool:
    """Whether what it computes is used for a loss: backward comes later in the same function."""
    function = source.around(block, cst.FunctionDef)
    return any(
        last(source, call) == "backward"
        and source.around(call, cst.FunctionDef) is function
        and source.start(call) > source.start(block)
        for call in source.all(cst.Call)
    )
