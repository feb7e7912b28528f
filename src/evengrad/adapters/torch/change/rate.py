"""Changes of a live optimizer: its rate, its class, its schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from evengrad.adapters.torch.change.model import LiveTraining
from evengrad.adapters.torch.compat import SCHEDULE_RATES, step_hooks
from evengrad.errors import CannotChangeError

_OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "sgd": torch.optim.SGD,
}


def rate(live: LiveTraining, value: float) -> None:
    """In all groups alike, and in what schedules keep of it."""
    factor = value / float(live.optimizer.param_groups[0]["lr"])
    for group in live.optimizer.param_groups:
        for key in ("lr", "initial_lr"):
            if key in group:
                group[key] = group[key] * factor
    for scheduler in live.schedulers:
        for key in SCHEDULE_RATES:
            if hasattr(scheduler, key):
                setattr(scheduler, key, [rate * factor for rate in getattr(scheduler, key)])


def optimizer(live: LiveTraining, name: str, value: float) -> None:
    """The same object under another class, so that the script's loop and all hooks keep it. Between its groups
    the rates differ as before. Where its step is being made, that step moves nothing, and the class comes
    after it.
    """
    if not live.stepping:
        _become(live, name, value)
        return
    rates = [group["lr"] for group in live.optimizer.param_groups]
    for group in live.optimizer.param_groups:
        group["lr"] = 0.0

    def after(*_: Any) -> None:
        if not rates:  # it stays: torch goes through all hooks now
            return
        for group, old in zip(live.optimizer.param_groups, rates, strict=True):
            group["lr"] = old
        rates.clear()
        _become(live, name, value)

    live.optimizer.register_step_post_hook(after)


def _become(live: LiveTraining, name: str, value: float) -> None:
    one, hooks = live.optimizer, step_hooks(live.optimizer)
    first = one.param_groups[0]
    rates = [value * g["lr"] / first["lr"] for g in one.param_groups]
    groups = [
        {"params": g["params"], "lr": r} for g, r in zip(one.param_groups, rates, strict=True)
    ]
    decay = first.get("weight_decay", 0.0)
    one.__class__ = _OPTIMIZERS[name]
    one.__dict__.pop("step", None)  # a scheduler's counter around the old class' step
    more = {"weight_decay": decay} if decay else {}
    one.__init__(groups, lr=value, **more)
    one.__dict__.update(hooks)
    for scheduler in live.schedulers:
        if hasattr(scheduler, "base_lrs"):
            scheduler.base_lrs = list(rates)
    for group in one.param_groups:
        group.setdefault("initial_lr", group["lr"])


def beta2(live: LiveTraining, value: float) -> None:
    """Wherever there are betas."""
    groups = [g for g in live.optimizer.param_groups if "betas" in g]
    if not groups:
        kind = type(live.optimizer).__name__
        raise CannotChangeError(f"{kind} has no beta2; expected Adam or the like.")
    for group in groups:
        group["betas"] = (group["betas"][0], value)


def warmup(live: LiveTraining, steps: int) -> None:
    """Linear."""
    _schedule(live, lambda step: min(1.0, (step + 1) / steps))


def by_loss(live: LiveTraining, highest: float, base: float, per_loss: float) -> None:
    """The loss is the one that the script goes backwards from, before the step."""
    if live.schedulers or live.scalers or live.stepping:
        raise CannotChangeError(
            "The rate cannot follow the loss: a schedule, a loss scaler or a closure is in its way."
        )
    first = float(live.optimizer.param_groups[0]["lr"])
    parts = [float(group["lr"]) / first for group in live.optimizer.param_groups]
    losses: list[Any] = []

    def listening(original: Any) -> Any:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            one = tensors if isinstance(tensors, torch.Tensor) else tensors[0]
            losses[:] = [one.detach()]
            return original(tensors, *args, **kwargs)

        return backward

    def before(optimizer: Any, *_: Any) -> None:
        loss = float(losses[0].mean()) if losses else math.nan
        rate = min(highest, 1 / (base + per_loss * loss)) if loss > 0 else highest
        for group, part in zip(optimizer.param_groups, parts, strict=True):
            group["lr"] = part * rate

    live.patches.wrap(torch.autograd, "backward", listening)
    live.optimizer.register_step_pre_hook(before)


def decay(live: LiveTraining, steps: int) -> None:
    """Half a cosine."""
    _schedule(live, lambda step: 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0))))


def _schedule(live: LiveTraining, factor: Callable[[int], float]) -> None:
    """Multiply whatever the rate is, for the time of each step."""
    seen: list[list[float]] = []

    def before(optimizer: Any, *_: Any) -> None:
        seen.append([g["lr"] for g in optimizer.param_groups])
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor(len(seen) - 1)

    def after(optimizer: Any, *_: Any) -> None:
        if not seen:  # the first step was being made
            return
        for group, rate in zip(optimizer.param_groups, seen[-1], strict=True):
            group["lr"] = rate

    live.optimizer.register_step_pre_hook(before)
    live.optimizer.register_step_post_hook(after)
