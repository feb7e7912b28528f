"""Clipping: a call before each step; by a watch for the kinds that PyTorch lacks."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import optimizers
from evengrad.fixing.patch.torch.optimizers import StepCall
from evengrad.fixing.wording import number

_TORCH = {"norm": "torch.nn.utils.clip_grad_norm_", "value": "torch.nn.utils.clip_grad_value_"}
_WORD = {"norm": "max_norm", "value": "clip_value"}


def clip_gradients(draft: SourceDraft, kind: str, bound: float) -> None:
    """A clipping call before each ``optimizer.step()``; one that is there gets the new bound."""
    if kind not in _TORCH:
        _watched(draft, kind, bound)
        return
    source = draft.source
    made = optimizers.optimizers(source)
    steps = optimizers.steps(source, made)
    if not steps:
        raise Manual(made[0], "after")
    present = [call for call in source.all(cst.Call) if _clips(source, call)]
    for call in present:
        _rebound(draft, call, kind, bound, steps)
    for step in steps:
        if not any(_guards(source, call, step) for call in present):
            _insert(draft, step, kind, bound)


def _watched(draft: SourceDraft, kind: str, bound: float) -> None:
    """By a watch on the optimizer, for kinds that PyTorch does not have."""
    source = draft.source
    made = optimizers.single(source, "after")
    target, model = optimizers.target(source, made), optimizers.models(source, made)
    if target is None or model is None or any(_clips(source, c) for c in source.all(cst.Call)):
        raise Manual(made, "after")
    draft.need("import evengrad")
    clip = draft.quoted(f"{kind}:{number(bound)}")
    given = f"{source.code(model)}, {source.code(target)}, clip={clip}, guard=None, folder=None"
    draft.after(made, [f"evengrad.watch({given})"])


def _clips(source: Source, call: cst.Call) -> bool:
    return source.called(call).startswith("torch.nn.utils.clip_grad_")


def _rebound(
    draft: SourceDraft, call: cst.Call, kind: str, bound: float, steps: list[StepCall]
) -> None:
    """Give a clipping call that is there the kind and the bound."""
    source = draft.source
    if not any(_guards(source, call, step) for step in steps):
        raise Manual(call)  # it may not be reached: the step is not beside it
    name = _TORCH[kind]
    if source.called(call).rstrip("_") == name.rstrip("_"):
        positions = {_WORD[kind]: 1}
        arguments.change(draft, call, {_WORD[kind]: number(bound)}, positions=positions)
        return
    given = arguments.value(call, "parameters", 0)
    if given is None:
        raise Manual(call)
    draft.replace(call, f"{draft.spell(name)}({source.code(given)}, {number(bound)})")


def _guards(source: Source, call: cst.Call, step: StepCall) -> bool:
    """Whether a call stands in the same block as a step, before it."""
    same = _block(source, call) is _block(source, step.call)
    return same and source.start(call) < source.start(step.call)


def _block(source: Source, node: cst.CSTNode) -> cst.CSTNode | None:
    line = source.statement(node)
    above = None if line is None else source.parent(line)
    return source.parent(above) if isinstance(above, cst.SimpleStatementLine) else above


def _insert(draft: SourceDraft, step: StepCall, kind: str, bound: float) -> None:
    source = draft.source
    if len(step.call.args) > (step.scaler is not None):
        raise Manual(step.call, "before")  # a closure computes the gradient within the step
    lines = []
    if step.scaler is not None and not _unscaled(source, step):
        lines.append(f"{step.scaler}.unscale_({step.optimizer})")
    name = draft.spell(_TORCH[kind])
    lines.append(f"{name}({_parameters(source, step)}, {number(bound)})")
    draft.before(step.call, lines)


def _unscaled(source: Source, step: StepCall) -> bool:
    calls = [c for c in source.all(cst.Call) if source.code(c.func) == f"{step.scaler}.unscale_"]
    return any(_guards(source, call, step) for call in calls)


def _parameters(source: Source, step: StepCall) -> str:
    """The parameters of a step's optimizer, as they can be written where it steps."""
    given = None if step.made is None else optimizers.parameters(source, step.made)
    if (
        given is not None
        and source.code(given).endswith(".parameters()")
        and optimizers.visible(source, given, step.call)
    ):
        return source.code(given)
    return f'[p for group in {step.optimizer}.param_groups for p in group["params"]]'
