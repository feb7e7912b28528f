"""Residual connections in a live network, by hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from evengrad.adapters.torch.change.model import LiveTraining, hooked
from evengrad.errors import CannotChangeError

_NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


def skip(live: LiveTraining, names: Sequence[str]) -> None:
    """Around each layer, and around the normalisation that reads nothing but what the layer gives."""
    layers = {live.weighted(name): name for name in names}
    ends = _ends(live, layers)
    for layer, end in ends.items():
        layer.skip = nn.Parameter(layer.weight.new_zeros(()))
        live.train([layer.skip])
        _connect(layer, end)


def _connect(layer: Any, end: Any) -> None:
    """``x + a f(x)``, f from the layer to the end."""
    came: list[Any] = []
    layer.register_forward_pre_hook(lambda _m, args: came.append(args[0]))
    end.register_forward_hook(lambda _m, _a, output: came.pop() + layer.skip * output)


def _ends(live: LiveTraining, layers: dict[Any, str]) -> dict[Any, Any]:
    """The last module of each layer's branch."""
    ends: dict[Any, Any] = {}
    given: dict[Any, tuple[int, ...]] = {}
    last: dict[Any, Any] = {}

    def begins(layer: Any, args: Any, output: Any) -> None:
        given[layer], last[layer], ends[layer] = _shape(args[0]), output, layer

    def follows(norm: Any, args: Any) -> None:
        for layer, output in last.items():
            if args and args[0] is output:
                ends[layer] = norm

    def closes(norm: Any, _args: Any, output: Any) -> None:
        for layer, end in ends.items():
            if end is norm:
                last[layer] = output

    norms = [m for m in live.model.modules() if isinstance(m, _NORMS)]
    handles = [layer.register_forward_hook(begins) for layer in layers]
    handles += [norm.register_forward_pre_hook(follows) for norm in norms]
    handles += [norm.register_forward_hook(closes) for norm in norms]
    with hooked(handles):
        live.forward()
    for layer, name in layers.items():
        if layer not in ends:
            raise CannotChangeError(f"{name!r} is not used in the forward pass of the first batch.")
        if given[layer] != _shape(last[layer]):
            raise CannotChangeError(
                f"{name!r} takes a tensor of shape {given[layer]} and gives one of {_shape(last[layer])}; a "
                "residual connection needs the same."
            )
    return ends


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else ()
