"""Another optimizer, with its framework's defaults but for the rate."""

from __future__ import annotations

import libcst as cst

from evengrad.change import Optimizer
from evengrad.patch import arguments, keras_optimizers, torch_optimizers
from evengrad.patch.draft import Draft, Manual
from evengrad.patch.numbers import number
from evengrad.patch.rate import refuse_absolute, set_keras, set_torch

_TORCH = {
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
    "sgd": "SGD",
}
_KEPT_TORCH = {"params", "lr", "weight_decay", "maximize", "foreach", "differentiable"}
_KEPT_KERAS = {
    "learning_rate", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum",
    "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps",
}  # fmt: skip


def torch(draft: Draft, change: Optimizer) -> None:
    """``torch.optim.SGD(...)`` becomes ``torch.optim.Adam(...)`` of the same parameters."""
    source, name = draft.source, _TORCH[change.name]
    refuse_absolute(source)
    call = torch_optimizers.optimizers(source)[0]
    choice = _choice(draft, call)
    if choice is not None:
        params = arguments.value(call, "params", 0)
        if params is None:
            raise Manual(choice)
        made = (
            f"{draft.spell(f'torch.optim.{name}')}({source.code(params)}, lr={number(change.rate)})"
        )
        draft.replace(choice, made)
        return
    call = torch_optimizers.single(source)
    set_torch(
        draft, call, change.rate, _dropped(call, _KEPT_TORCH, 2, keep=_same(draft, call, name))
    )
    if not _same(draft, call, name):
        draft.replace(call.func, draft.spell(f"torch.optim.{name}"))


def keras(draft: Draft, change: Optimizer) -> None:
    """``"sgd"`` or ``keras.optimizers.SGD(...)`` becomes ``keras.optimizers.Adam(...)``."""
    source, name = draft.source, keras_optimizers.CLASSES[change.name]
    refuse_absolute(source)
    sites = keras_optimizers.optimizers(source)
    spelled = draft.spell(f"keras.optimizers.{name}")
    choice = _choice(draft, sites[0])
    if choice is not None or isinstance(sites[0], cst.SimpleString):
        if choice is None:
            keras_optimizers.single(source)
        made = f"{spelled}(learning_rate={number(change.rate)})"
        for place in [choice] if choice is not None else sites:
            draft.replace(place, made)
        return
    keras_optimizers.single(source)
    for site in sites:
        if isinstance(site, cst.Call):
            same = keras_optimizers.kind(source, site) == name
            dropped = _dropped(site, _KEPT_KERAS, 1, keep=same)
            set_keras(draft, site, change.rate, dropped)
            if not same:
                draft.replace(site.func, spelled)


def _choice(draft: Draft, site: cst.CSTNode) -> cst.IfExp | None:
    """The conditional expression that chooses between all optimizers of the script, if that is so."""
    found = draft.source.parent(site)
    while isinstance(above := None if found is None else draft.source.parent(found), cst.IfExp):
        found = above
    return found if isinstance(found, cst.IfExp) else None


def _same(draft: Draft, call: cst.Call, name: str) -> bool:
    return torch_optimizers.kind(draft.source, call) == name


def _dropped(call: cst.Call, kept: set[str], shared: int, *, keep: bool) -> tuple[cst.Arg, ...]:
    """The arguments that another optimizer lacks. shared: how many leading ones all have."""
    if keep:
        return ()
    return tuple(
        arg
        for index, arg in enumerate(call.args)
        if (index >= shared if arg.keyword is None else arg.keyword.value not in kept)
    )
