"""What a step's gradients and weights say of themselves, read at the least cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from evengrad.run import Floats

_SAMPLE = 1 << 16
_DOT = (torch.float32, torch.float64)


def flat(tensor: Any) -> Any:
    """A tensor's elements as a vector, in the order of memory: a view wherever they lie side by side."""
    tensor = tensor.detach()
    if tensor.is_sparse:
        tensor = tensor.coalesce().values()
    if hasattr(tensor, "to_local"):
        tensor = tensor.to_local()
    if tensor.is_contiguous():
        return tensor.view(-1)
    strides = tensor.stride()
    ordered = tensor.permute(sorted(range(tensor.ndim), key=lambda axis: -strides[axis]))
    return ordered.reshape(-1)


def norms(gradients: Sequence[Any]) -> Any:
    """L2 norm of each gradient, packed into one tensor (len(gradients),) on their device.

    By dot products: faster than ``torch._foreach_norm`` and more exact. Short floats are summed in float32.
    Where squares overflow float32 a norm is inf, where they vanish it is 0; ``exact`` tells.
    """
    parts = []
    for gradient in gradients:
        if hasattr(gradient, "full_tensor"):  # sharded: the norm over all shards
            parts.append(torch.linalg.vector_norm(gradient).full_tensor().square())
            continue
        values = flat(gradient)
        if values.dtype in _DOT:
            parts.append(torch.dot(values, values))
        else:
            parts.append(torch.linalg.vector_norm(values, dtype=torch.float32).square())
    device, dtype = parts[0].device, parts[0].dtype
    if any(part.device != device or part.dtype != dtype for part in parts):
        parts = [part.to(device, torch.float64) for part in parts]
    return torch.stack(parts).sqrt_()


def exact(gradient: Any) -> float:
    """L2 norm summed in float64: NaN or inf only where the gradient is."""
    return float(torch.linalg.vector_norm(flat(gradient), dtype=torch.float64))


def non_finite(gradient: Any) -> int:
    """How many elements are NaN or inf."""
    values = flat(gradient)
    return int(values.numel() - torch.isfinite(values).sum())


def sample(tensor: Any) -> Any:
    """A vector of at most 65,536 elements at equal distances, or all of them; a view."""
    values = flat(tensor)
    return values[:: -(-values.numel() // _SAMPLE)] if values.numel() > _SAMPLE else values


def gradient_figures(gradient: Any | None, norm: float) -> tuple[float, float, float]:
    """Rms, largest absolute value, and the share of zeros (of ``sample``); NaN where there is none."""
    if gradient is None:
        return math.nan, math.nan, math.nan
    values = flat(gradient)
    if values.numel() == 0:
        return 0.0, 0.0, 0.0
    low, high = torch.aminmax(values)
    part = sample(gradient)
    zeros = 1 - int(torch.count_nonzero(part)) / part.numel()
    return norm / math.sqrt(values.numel()), max(abs(float(low)), abs(float(high))), zeros


def rms(tensor: Any) -> float:
    """Root mean square of all elements."""
    values = flat(tensor)
    if values.numel() == 0:
        return 0.0
    norm = float(norms([tensor])[0])
    norm = norm if 0 < norm < math.inf else exact(tensor)
    return norm / math.sqrt(values.numel())


def rms_between(after: Any, before: Any) -> float:
    """Root mean square of the difference of two vectors."""
    if after.numel() == 0:
        return 0.0
    return exact(after.double() - before.double()) / math.sqrt(after.numel())


def as_host(packed: Any) -> Floats:
    """A packed tensor as float64 on the host: the one read of a step."""
    found: Floats = packed.detach().cpu().numpy().astype(np.float64)
    return found
