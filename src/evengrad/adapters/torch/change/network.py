"""Changes of a live network: activations, loss head, normalisation, inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from evengrad.adapters.torch.change.model import LiveTraining
from evengrad.adapters.torch.change.substitute import closing
from evengrad.adapters.torch.compat import run_first
from evengrad.errors import CannotChangeError

_GROUPS = 8
"""Channels a group of group normalisation, where they can be divided so (Wu 2018, 1803.08494, takes 16)."""


def activation(
    live: LiveTraining,
    old: str,
    new: str,
    slope: float | None,
    shaping: Sequence[float] | None = None,
) -> None:
    """Every call of the old one but those that close the network."""
    calls, kept = closing(live.model, live.args, {}, old)
    if calls == len(kept):
        raise CannotChangeError(f"No hidden layer of this network calls {old}.")
    live.substitute.activation(old, new, slope, shaping, kept)


def logits(live: LiveTraining, from_logits: bool) -> None:
    """Without the closing softmax or sigmoid."""
    if from_logits:
        raise CannotChangeError("In PyTorch the loss cannot be told; the closing call is to go.")
    names = ("softmax", "log_softmax", "sigmoid")
    places = {name: closing(live.model, live.args, {}, name)[1] for name in names}
    found = {name: where for name, where in places.items() if where}
    if not found:
        raise CannotChangeError("The network has no closing softmax or sigmoid to take away.")
    live.substitute.without(found)


def normalise(live: LiveTraining, kind: str, layers: Sequence[str]) -> None:
    """By hooks behind the layers."""
    new: list[Any] = []
    for name in layers:
        layer = live.layer(name)
        norm = _norm(kind, layer, name).to(layer.weight.device, layer.weight.dtype)
        layer.add_module("normalisation", norm)
        layer.register_forward_hook(lambda _m, _a, output, norm=norm: norm(output))
        new.extend(norm.parameters())
    live.train(new)


def inputs(live: LiveTraining, mean: float, std: float) -> None:
    """The first floating one of them is standardised."""
    _before_model(live, lambda value: (value - mean) / std)


def finite(live: LiveTraining) -> None:
    """In the first floating one of them."""
    _before_model(live, lambda value: torch.nan_to_num(value, 0.0, 0.0, 0.0))


def finite_targets(live: LiveTraining) -> None:
    """In what the loss compares with; see ``trying``."""
    live.finite_targets = True


def _before_model(live: LiveTraining, make: Callable[[Any], Any]) -> None:
    def before(_module: Any, args: Any, kwargs: Any) -> Any:
        done = False

        def changed(value: Any) -> Any:
            nonlocal done
            if done or not (isinstance(value, torch.Tensor) and value.is_floating_point()):
                return value
            done = True
            return make(value)

        return tuple(map(changed, args)), {k: changed(v) for k, v in kwargs.items()}

    # Behind those of earlier changes, before the script's own.
    handle = live.model.register_forward_pre_hook(before, with_kwargs=True)
    live.first_hooks.append(handle.id)
    run_first(live.model, live.first_hooks)
    live.args, _ = before(None, live.args, {})  # this pass has its hooks already


_TRANSPOSED = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
_WEIGHTED = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | _TRANSPOSED


def _norm(kind: str, layer: Any, name: str) -> Any:
    if not isinstance(layer, _WEIGHTED):
        raise CannotChangeError(f"{name!r} is no linear or convolution layer to normalise behind.")
    rank = layer.weight.ndim - 2
    units = int(layer.weight.shape[0])
    if isinstance(layer, _TRANSPOSED):
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


def scale_outputs(live: LiveTraining, layers: Sequence[str], factor: float) -> None:
    """By hooks behind the layers."""
    for name in layers:
        live.weighted(name).register_forward_hook(lambda _m, _a, output: factor * output)
