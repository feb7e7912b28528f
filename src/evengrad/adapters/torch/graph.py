"""The mutable record of one forward pass, filled in by hooks as the backward pass goes by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from evengrad.probe import ActivationHealth, Kind
from evengrad.statistics import Summary, summarise
from evengrad.theory.activations import canonical


@dataclass(slots=True, eq=False)
class Node:
    """One recorded call. reads, makes: tensor numbers; below[i], above[i]: gradients measured there."""

    name: str
    layer: str
    kind: Kind
    type: str
    source: str | None
    inside: bool  # of the outermost module's call
    reads: list[int] = field(default_factory=list)
    makes: list[int] = field(default_factory=list)
    forward: Summary | None = None
    below: dict[int, float] = field(default_factory=dict)
    above: dict[int, Summary] = field(default_factory=dict)
    parameters: list[Any] = field(default_factory=list)
    fan_in: dict[int, float] = field(default_factory=dict)  # id(parameter) -> fan-in
    health: ActivationHealth | None = None


def summary_of(tensor: Any) -> Summary:
    """Figures of a tensor on any device and of any dtype."""
    tensor = tensor.detach()
    if tensor.is_sparse:
        tensor = tensor.coalesce().values()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if tensor.dtype not in (torch.float32, torch.float64) and not _is_integer(tensor):
        tensor = tensor.float()
    return summarise(tensor.cpu().numpy())


def _is_integer(tensor: Any) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex())


_ZERO_REGION = {"relu", "relu6", "threshold"}
# Flat ends of bounded activations: (below, above), within 1% of the range's end.
_FLAT = {
    "tanh": (-0.99, 0.99),
    "sigmoid": (0.01, 0.99),
    "hard_tanh": (-1.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "relu6": (None, 6.0),
}


def activation_health(name: str, output: Any) -> ActivationHealth | None:
    """Saturated and dead shares of an activation's output; None for a softmax."""
    name = canonical(name)
    if "softmax" in name or output.ndim < 2 or output.numel() == 0:
        return None
    output = output.detach()
    axis = 1 if output.ndim >= 4 else output.ndim - 1
    units = output.shape[axis]
    saturated = dead = 0.0
    if name in _FLAT:
        low, high = _FLAT[name]
        flat = output >= high
        if low is not None:
            flat = flat | (output <= low)
        saturated = float(flat.float().mean())
    if name in _ZERO_REGION:
        others = [d for d in range(output.ndim) if d != axis]
        dead = (
            float((output == 0).all(dim=others[0]).float().mean())
            if len(others) == 1
            else float((output.amax(dim=others) == 0).float().mean())
        )
    return ActivationHealth(saturated, dead, units)
