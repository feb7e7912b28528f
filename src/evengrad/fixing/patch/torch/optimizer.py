"""Another optimizer, with its framework's defaults but for the rate."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.optimizer import _choice, _dropped
from evengrad.fixing.patch.script.schedules import refuse_absolute
from evengrad.fixing.patch.torch import optimizers
from evengrad.fixing.patch.torch.rate import set_torch
from evengrad.fixing.wording import number

_TORCH = {
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
    "sgd": "SGD",
}
_KEPT_TORCH = {"params", "lr", "weight_decay", "maximize", "foreach", "differentiable"}


def use_optimizer(draft: SourceDraft, kind: str, rate: float) -> None:
    """``torch.optim.SGD(...)`` becomes ``torch.optim.Adam(...)`` of the same parameters."""
    source, name = draft.source, _TORCH[kind]
    refuse_absolute(source)
    call = optimizers.optimizers(source)[0]
    choice = _choice(draft, call)
    if choice is not None:
        params = arguments.value(call, "params", 0)
        if params is None:
            raise Manual(choice)
        made = f"{draft.spell(f'torch.optim.{name}')}({source.code(params)}, lr={number(rate)})"
        draft.replace(choice, made)
        return
    call = optimizers.single(source)
    set_torch(draft, call, rate, _dropped(call, _KEPT_TORCH, 2, keep=_same(draft, call, name)))
    if not _same(draft, call, name):
        draft.replace(call.func, draft.spell(f"torch.optim.{name}"))


def _same(draft: SourceDraft, call: cst.Call, name: str) -> bool:
    return optimizers.kind(draft.source, call) == name
