"""Other initial weights in a live model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from evengrad.adapters.torch.change.model import LiveTraining, hooked
from evengrad.errors import CannotChangeError

_TOLERANCE, _PASSES = 0.01, 10  # |std - 1|, and tries a layer


def initialise(
    live: LiveTraining, layers: Sequence[str], gain: float, scheme: str, bias: float = 0.0
) -> None:
    """Drawn anew, and their biases zero or of that deviation."""
    for name in layers:
        _draw(live.weighted(name), _SCHEMES[scheme], gain, bias)


def unit_variance(live: LiveTraining, layers: Sequence[str]) -> None:
    """Orthogonal, then divided by what one forward pass of the first batch measures."""
    names = {live.weighted(name): name for name in layers}
    for layer in names:
        _draw(layer, _orthogonal, 1.0)
    measured: dict[Any, Any] = {}

    def scale(layer: Any, args: Any, output: Any) -> Any:
        if layer in measured:
            return output
        for _ in range(_PASSES):
            std = _std(output, names[layer])
            if abs(std - 1) <= _TOLERANCE:
                break
            layer.weight.div_(std)
            output = layer.forward(*args)
        measured[layer] = layer.weight.detach().clone()
        return output

    with hooked([layer.register_forward_hook(scale, prepend=True) for layer in names]):
        live.forward()
    for layer, name in names.items():
        if layer not in measured:
            raise CannotChangeError(f"{name!r} is not used in the forward pass of the first batch.")
        with torch.no_grad():
            layer.weight.copy_(measured[layer])


def _std(output: Any, name: str) -> float:
    found = float(output.float().std()) if isinstance(output, torch.Tensor) else math.nan
    if not math.isfinite(found) or found == 0:
        raise CannotChangeError(f"The output of {name!r} has no variance to scale by ({found:g}).")
    return found


def _draw(layer: Any, scheme: Callable[[Any, float], None], gain: float, bias: float = 0.0) -> None:
    with torch.no_grad():
        scheme(layer.weight, gain)
        if getattr(layer, "bias", None) is not None:
            layer.bias.normal_(std=bias) if bias else layer.bias.zero_()


def _normal(weight: Any, gain: float) -> None:
    weight.normal_(std=gain / math.sqrt(weight[0].numel()))


def _zeros(weight: Any, _gain: float) -> None:
    weight.zero_()


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


_SCHEMES: dict[str, Callable[[Any, float], None]] = {
    "normal": _normal,
    "orthogonal": _orthogonal,
    "zeros": _zeros,
}
