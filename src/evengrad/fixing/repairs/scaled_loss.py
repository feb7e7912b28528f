"""The gradient of the scaled loss, where the optimizer divides by the scale."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "loss_unscaled"
_NAME = "scaled_loss"


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """``optimizer.scale_loss(loss)`` in the tape; ``scaler.scale(loss).backward()``."""
    yield from _taped(source)
    yield from _backward(source, fact)


def _backward(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    scaler = fact.values.get("scaler")
    bare = [
        call
        for call in source.all(cst.Call)
        if last(source, call) == "backward" and isinstance(call.func, cst.Attribute)
    ]
    draft = SourceDraft(source)
    for call in bare:
        assert isinstance(call.func, cst.Attribute)
        loss = call.func.value
        if scaler and not (isinstance(loss, cst.Call) and last(source, loss) == "scale"):
            draft.replace(loss, f"{scaler}.scale({source.code(loss)})")
    if draft.edits:
        yield msg("the loss is scaled by {scaler} before backward()", scaler=scaler), draft


def _taped(source: Source) -> Iterator[tuple[str, SourceDraft]]:
    for call in source.all(cst.Call):
        if last(source, call) != "gradient" or not call.args:
            continue
        loss, optimizer = call.args[0].value, _optimizer(source, call)
        place = _last_given(source, call, loss)
        if optimizer is None or place is None or source.local(_NAME, call):
            continue
        draft = SourceDraft(source)
        draft.after(place, [f"{_NAME} = {optimizer}.scale_loss({source.code(loss)})"])
        draft.replace(loss, _NAME)
        yield (
            msg(
                "the gradient is that of {optimizer}.scale_loss({code})",
                optimizer=optimizer,
                code=source.code(loss),
            ),
            draft,
        )


def _optimizer(source: Source, tape: cst.Call) -> str | None:
    """What applies the gradients in the same function."""
    function = source.around(tape, cst.FunctionDef)
    for call in source.all(cst.Call):
        applies = last(source, call) in {"apply_gradients", "apply"}
        if applies and source.around(call, cst.FunctionDef) is function:
            assert isinstance(call.func, cst.Attribute)
            return source.code(call.func.value)
    return None


def _last_given(source: Source, call: cst.Call, loss: cst.BaseExpression) -> cst.CSTNode | None:
    """The last statement that binds the loss, in the tape."""
    function, code = source.around(call, cst.FunctionDef), source.code(loss)
    found: cst.CSTNode | None = None
    given: list[tuple[cst.CSTNode, list[cst.BaseAssignTargetExpression]]] = [
        *((a, [t.target for t in a.targets]) for a in source.all(cst.Assign)),
        *((a, [a.target]) for a in source.all(cst.AugAssign)),
    ]
    for assign, targets in given:
        mine = source.around(assign, cst.FunctionDef) is function
        taped = source.around(assign, cst.With) is not None
        if mine and taped and code in map(source.code, targets):
            later = found is None or source.start(assign) > source.start(found)
            found = assign if later and source.start(assign) < source.start(call) else found
    return found
