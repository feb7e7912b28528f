"""PyTorch: the learning rate rises at first, or falls towards the end."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import optimizers

_HOME = "torch.optim.lr_scheduler"
# these set the rate instead of multiplying what it is
_OVERWRITE = {"LambdaLR", "OneCycleLR", "CyclicLR", "CosineAnnealingWarmRestarts", "LinearLR"}


def warmup(draft: SourceDraft, steps: int) -> None:
    """``LinearLR``, one step an update."""
    schedulers = _schedulers(draft.source)
    overwriting = [call for name, call in schedulers if name in _OVERWRITE]
    if steps < 2 or overwriting:
        raise Manual(next(iter(overwriting), None), "before")
    end = f"start_factor=1 / {steps}, total_iters={steps - 1}"
    _add(draft, "warmup", "LinearLR", end)


def decay(draft: SourceDraft, steps: int) -> None:
    """``CosineAnnealingLR``, one step an update."""
    if schedulers := _schedulers(draft.source):
        raise Manual(schedulers[0][1])
    _add(draft, "decay", "CosineAnnealingLR", f"T_max={steps}")


def _schedulers(source: Source) -> list[tuple[str, cst.Call]]:
    found = [(source.called(call), call) for call in source.all(cst.Call)]
    return [(n.rpartition(".")[2], call) for n, call in found if n.startswith(f"{_HOME}.")]


def _reached(source: Source, made: cst.Call, step: cst.Call, *, own: bool) -> bool:
    """Whether a name that is bound beside the optimizer is bound at the step, too."""
    if own:
        return source.around(made, cst.ClassDef) is source.around(step, cst.ClassDef)
    function = source.around(made, cst.FunctionDef)
    return function is None or source.around(step, cst.FunctionDef) is function


def _add(draft: SourceDraft, name: str, kind: str, end: str) -> None:
    source = draft.source
    made = optimizers.single(source, "after")
    target = optimizers.target(source, made)
    if target is None:
        raise Manual(made, "after")
    optimizer = source.code(target)
    own = optimizer.startswith("self.")
    name = f"self.{name}" if own else name
    steps = optimizers.steps(source, [made])
    if not steps or any(not _reached(source, made, step.call, own=own) for step in steps):
        raise Manual(made, "after")
    if any(source.code(n) == name for n in source.expressions()):
        raise Manual(made, "after")
    draft.after(made, [f"{name} = {draft.spell(f'{_HOME}.{kind}')}({optimizer}, {end})"])
    for step in steps:
        if len(step.call.args) > (step.scaler is not None):
            raise Manual(step.call, "after")
        draft.after(step.call, [f"{name}.step()"])
