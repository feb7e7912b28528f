"""Saturated elements and dead units of an activation's output, counted where it is."""

from __future__ import annotations

from typing import Any

import torch

from evengrad.adapters.common.health import HealthLimits
from evengrad.adapters.torch.statistics.eager import wide

_PIECE = 1 << 24


def shares(values: Any, limits: HealthLimits, axis: int) -> Any:
    """Share of saturated elements and of dead units, (2,), where the values are. axis: of the units."""
    rows = max(_PIECE // max(values[0].numel(), 1), 1)
    parts = values.detach().split(rows)
    dtype = wide(values.device)
    saturated = dead = torch.zeros((), dtype=dtype, device=values.device)
    if limits.high is not None:
        counts = [torch.count_nonzero(_ends(part, limits)) for part in parts]
        saturated = torch.stack(counts).sum() / values.numel()
    if limits.zero:
        others = [i for i in range(values.ndim) if i != axis % values.ndim]
        alive = torch.stack([(part != 0).any(dim=others) for part in parts]).any(dim=0)
        dead = 1 - torch.count_nonzero(alive) / alive.numel()
    return torch.stack([saturated.to(dtype), dead.to(dtype)])


def _ends(values: Any, limits: HealthLimits) -> Any:
    ends = values >= limits.high
    return ends if limits.low is None else ends | (values <= limits.low)
