"""PyTorch: the learning rate follows the loss, set before each step."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import optimizers


def rate_by_loss(draft: SourceDraft, formula: Callable[[str], str]) -> None:
    """A line that sets the rate of every group. formula: of the loss, as an expression."""
    source = draft.source
    made = optimizers.single(source, "after")
    steps = optimizers.steps(source, [made])
    backwards = [c for c in source.all(cst.Call) if _goes_backward(c)]
    scheduled = any(
        source.called(c).startswith("torch.optim.lr_scheduler.") for c in source.all(cst.Call)
    )
    if scheduled or len(steps) != 1 or len(backwards) != 1 or steps[0].scaler or steps[0].call.args:
        raise Manual(made, "after")
    step, backward = steps[0], backwards[0]
    if not _together(source, backward, step.call):
        raise Manual(step.call, "before")
    assert isinstance(backward.func, cst.Attribute)
    rate = formula(f"{source.code(backward.func.value)}.item()")
    quote = draft.quoted("lr")
    lines = [f"for group in {step.optimizer}.param_groups:", f"    group[{quote}] = {rate}"]
    draft.before(step.call, lines)


def _goes_backward(call: cst.Call) -> bool:
    return (
        isinstance(call.func, cst.Attribute)
        and call.func.attr.value == "backward"
        and isinstance(call.func.value, cst.Name)
        and not call.args
    )


def _together(source: Source, backward: cst.Call, step: cst.Call) -> bool:
    """Whether a step is in the block of the backward pass, behind it."""
    blocks = [
        source.parent(line) if (line := source.statement(n)) else None for n in (backward, step)
    ]
    blocks = [source.parent(b) if isinstance(b, cst.SimpleStatementLine) else b for b in blocks]
    return blocks[0] is blocks[1] and source.start(backward) < source.start(step)
