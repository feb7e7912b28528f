"""PyTorch: a gradient scaler around backward and step."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import optimizers
from evengrad.fixing.patch.torch.optimizers import StepCall


def loss_scale(draft: SourceDraft, value: float) -> None:
    """``scaler.scale(loss).backward()``, ``scaler.step(optimizer)``, ``scaler.update()``."""
    source = draft.source
    for call in source.all(cst.Call):
        if source.called(call).rpartition(".")[2] == "GradScaler":
            raise Manual(call)
    made = optimizers.single(source, "after")
    steps = optimizers.steps(source, [made])
    backwards = [call for call in source.all(cst.Call) if _is_backward(call)]
    if len(steps) != 1 or len(backwards) != 1 or steps[0].call.args:
        raise Manual(made, "after")
    step, backward = steps[0], backwards[0]
    name = "self.scaler" if step.optimizer.startswith("self.") else "scaler"
    _expect_free(source, made, step, name)
    scaler = (
        f"{draft.spell('torch.amp.GradScaler')}({_device(source, made)}, init_scale={value:.1f})"
    )
    draft.after(made, [f"{name} = {scaler}"])
    assert isinstance(backward.func, cst.Attribute)
    loss = backward.func.value
    draft.replace(loss, f"{name}.scale({source.code(loss)})")
    for clip in source.all(cst.Call):
        if source.called(clip).startswith("torch.nn.utils.clip_grad_"):
            draft.before(clip, [f"{name}.unscale_({step.optimizer})"])
    draft.replace(step.call, f"{name}.step({step.optimizer})")
    draft.after(step.call, [f"{name}.update()"])


def _is_backward(call: cst.Call) -> bool:
    return isinstance(call.func, cst.Attribute) and call.func.attr.value == "backward"


def _expect_free(source: Source, made: cst.Call, step: StepCall, name: str) -> None:
    """Raises Manual where the name is taken, or not known at the step."""
    if any(source.code(node) == name for node in source.expressions()):
        raise Manual(made, "after")
    function = source.around(made, cst.FunctionDef)
    own = name.startswith("self.")
    kind: type[cst.CSTNode] = cst.ClassDef if own else cst.FunctionDef
    reached = source.around(step.call, kind) is source.around(made, kind)
    if not reached and (own or function is not None):
        raise Manual(made, "after")


def _device(source: Source, made: cst.Call) -> str:
    """What the script tells its autocast. Raises Manual where there is none."""
    for call in source.all(cst.Call):
        if source.called(call) in {"torch.autocast", "torch.amp.autocast"}:
            given = arguments.value(call, "device_type", 0)
            if isinstance(given, cst.SimpleString) or (
                given is not None and optimizers.visible(source, given, made)
            ):
                return source.code(given)
    raise Manual(made, "after")
