"""Makes changes in a live model and its optimizer, in the moment before the first training step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from evengrad.adapters.torch.substitute import Substitute, closing
from evengrad.change import (
    Activation,
    Beta2,
    Change,
    Clip,
    Decay,
    Initialise,
    Inputs,
    Logits,
    Normalise,
    Optimizer,
    Rate,
    Warmup,
)
from evengrad.errors import CannotChangeError

_OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "sgd": torch.optim.SGD,
}
_GROUPS = 8
"""Channels a group of group normalisation, where they can be divided so (Wu 2018, 1803.08494, takes 16)."""


class Live:
    """A model with its optimizer, its schedulers, and the arguments of the forward pass that comes. substitute:
    stands in for calls of activations from now on.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        schedulers: Sequence[Any],
        args: Any,
        kwargs: Any,
        substitute: Substitute,
    ) -> None:
        self.model, self.optimizer, self.schedulers = model, optimizer, list(schedulers)
        self.args, self.kwargs = args, kwargs
        self.substitute = substitute

    def apply(self, changes: Sequence[Change]) -> None:
        """All of them, in order. Raises CannotChangeError."""
        for change in changes:
            if type(change) not in _APPLY:
                raise CannotChangeError(f"{type(change).__name__} cannot be made in PyTorch.")
            _APPLY[type(change)](self, change)

    def _layer(self, name: str) -> Any:
        try:
            return self.model.get_submodule(name)
        except AttributeError:
            raise CannotChangeError(
                f"{type(self.model).__name__} has no layer {name!r}; it has "
                f"{', '.join(n for n, m in self.model.named_modules() if hasattr(m, 'weight'))}."
            ) from None

    def _closing(self, name: str) -> tuple[int, tuple[int, ...]]:
        return closing(self.model, self.args, self.kwargs, name)

    def _initialise(self, change: Initialise) -> None:
        for name in change.layers:
            layer = self._layer(name)
            weight = getattr(layer, "weight", None)
            if weight is None or weight.ndim < 2:
                raise CannotChangeError(f"{name!r} has no weight matrix to draw anew.")
            with torch.no_grad():
                _SCHEMES[change.scheme](weight, change.gain)
                if getattr(layer, "bias", None) is not None:
                    layer.bias.zero_()

    def _activation(self, change: Activation) -> None:
        calls, kept = self._closing(change.old)
        if calls == len(kept):
            raise CannotChangeError(f"No hidden layer of this network calls {change.old}.")
        self.substitute.activation(change.old, change.new, change.slope, kept)

    def _logits(self, change: Logits) -> None:
        if change.from_logits:
            raise CannotChangeError(
                "In PyTorch the loss cannot be told; the closing call is to go."
            )
        names = ("softmax", "log_softmax", "sigmoid")
        found = {name: places for name in names if (places := self._closing(name)[1])}
        if not found:
            raise CannotChangeError("The network has no closing softmax or sigmoid to take away.")
        self.substitute.without(found)

    def _rate(self, change: Rate) -> None:
        factor = change.value / float(self.optimizer.param_groups[0]["lr"])
        for group in self.optimizer.param_groups:
            for key in ("lr", "initial_lr"):
                if key in group:
                    group[key] = group[key] * factor
        for scheduler in self.schedulers:
            for key in ("base_lrs", "_last_lr"):
                if hasattr(scheduler, key):
                    setattr(scheduler, key, [rate * factor for rate in getattr(scheduler, key)])

    def _optimizer(self, change: Optimizer) -> None:
        """The same object under another class, so that the script's loop and all hooks keep it."""
        optimizer, hooks = self.optimizer, _hooks(self.optimizer)
        groups = [{"params": g["params"]} for g in optimizer.param_groups]
        decay = optimizer.param_groups[0].get("weight_decay", 0.0)
        optimizer.__class__ = _OPTIMIZERS[change.name]
        optimizer.__dict__.pop("step", None)  # a scheduler's counter around the old class' step
        more = {"weight_decay": decay} if decay else {}
        optimizer.__init__(groups, lr=change.rate, **more)
        optimizer.__dict__.update(hooks)
        for scheduler in self.schedulers:
            if hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs = [change.rate] * len(groups)
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", change.rate)

    def _beta2(self, change: Beta2) -> None:
        groups = [g for g in self.optimizer.param_groups if "betas" in g]
        if not groups:
            kind = type(self.optimizer).__name__
            raise CannotChangeError(f"{kind} has no beta2; expected Adam or the like.")
        for group in groups:
            group["betas"] = (group["betas"][0], change.value)

    def _schedule(self, factor: Callable[[int], float]) -> None:
        """Multiply whatever the rate is, for the time of each step."""
        seen: list[list[float]] = []

        def before(optimizer: Any, *_: Any) -> None:
            seen.append([g["lr"] for g in optimizer.param_groups])
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] * factor(len(seen) - 1)

        def after(optimizer: Any, *_: Any) -> None:
            for group, rate in zip(optimizer.param_groups, seen[-1], strict=True):
                group["lr"] = rate

        self.optimizer.register_step_pre_hook(before)
        self.optimizer.register_step_post_hook(after)

    def _warmup(self, change: Warmup) -> None:
        self._schedule(lambda step: min(1.0, (step + 1) / change.steps))

    def _decay(self, change: Decay) -> None:
        self._schedule(lambda step: 0.5 * (1 + math.cos(math.pi * min(step / change.steps, 1.0))))

    def _clip(self, change: Clip) -> None:
        clip = torch.nn.utils.clip_grad_norm_ if change.kind == "norm" else _clip_value

        def before(optimizer: Any, *_: Any) -> None:
            clip([p for g in optimizer.param_groups for p in g["params"]], change.bound)

        hook = self.optimizer.register_step_pre_hook(before)
        # Before the tap's hook: it then sees a clip as it would see the script's own.
        self.optimizer._optimizer_step_pre_hooks.move_to_end(hook.id, last=False)

    def _normalise(self, change: Normalise) -> None:
        new: list[Any] = []
        for name in change.layers:
            layer = self._layer(name)
            norm = _norm(change.kind, layer, name)
            norm = norm.to(layer.weight.device, layer.weight.dtype)
            layer.add_module("normalisation", norm)
            layer.register_forward_hook(lambda _m, _a, output, norm=norm: norm(output))
            new.extend(norm.parameters())
        # Into the first group: a group of their own would be one more than the script's schedule knows.
        self.optimizer.param_groups[0]["params"].extend(new)

    def _inputs(self, change: Inputs) -> None:
        def before(_module: Any, args: Any, kwargs: Any) -> Any:
            done = False

            def normalised(value: Any) -> Any:
                nonlocal done
                if done or not (isinstance(value, torch.Tensor) and value.is_floating_point()):
                    return value
                done = True
                return (value - change.mean) / change.std

            return tuple(map(normalised, args)), {k: normalised(v) for k, v in kwargs.items()}

        self.model.register_forward_pre_hook(before, with_kwargs=True, prepend=True)
        self.args, self.kwargs = before(
            None, self.args, self.kwargs
        )  # this pass has its hooks already


def _hooks(optimizer: Any) -> dict[str, Any]:
    names = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
    return {name: getattr(optimizer, name) for name in names}


def _clip_value(parameters: Sequence[Any], bound: float) -> None:
    torch.nn.utils.clip_grad_value_(parameters, bound)


def _normal(weight: Any, gain: float) -> None:
    weight.normal_(std=gain / math.sqrt(weight[0].numel()))


def _orthogonal(weight: Any, gain: float) -> None:
    """For convolutions in the middle of the kernel only (delta-orthogonal, 1806.05393)."""
    rows, columns = weight.shape[:2]
    matrix = torch.empty(rows, columns, device=weight.device, dtype=weight.dtype)
    # So that Var W = gain^2 / columns also where there are more rows, and their columns are orthonormal.
    nn.init.orthogonal_(matrix, gain * math.sqrt(max(1.0, rows / columns)))
    if weight.ndim == 2:
        weight.copy_(matrix)
        return
    weight.zero_()
    weight[(slice(None), slice(None), *(size // 2 for size in weight.shape[2:]))] = matrix


_SCHEMES: dict[str, Callable[[Any, float], None]] = {"normal": _normal, "orthogonal": _orthogonal}


def _norm(kind: str, layer: Any, name: str) -> Any:
    if not isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
        raise CannotChangeError(f"{name!r} is no linear or convolution layer to normalise behind.")
    rank = layer.weight.ndim - 2
    units = int(layer.weight.shape[0])
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        units = int(layer.weight.shape[1]) * layer.groups
    if kind == "batch":
        return (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[rank](units)
    if kind == "layer" and rank == 0:
        return nn.LayerNorm(units)
    groups = 1 if kind == "layer" else next(_divisors(units))
    return nn.GroupNorm(groups, units)


def _divisors(units: int) -> Iterator[int]:
    """Numbers of groups, best first."""
    wanted = max(1, units // _GROUPS)
    yield from (n for n in range(wanted, 0, -1) if units % n == 0)


_APPLY: dict[type, Callable[[Live, Any], None]] = {
    Initialise: Live._initialise,
    Activation: Live._activation,
    Rate: Live._rate,
    Warmup: Live._warmup,
    Decay: Live._decay,
    Optimizer: Live._optimizer,
    Beta2: Live._beta2,
    Clip: Live._clip,
    Normalise: Live._normalise,
    Logits: Live._logits,
    Inputs: Live._inputs,
}
