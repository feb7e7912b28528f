"""One tensor's figures by torch's own operators, without a wait for the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from evengrad.adapters.torch.statistics.layout import pieces, plain
from evengrad.values.summary import Summary

FIGURES = 5
"""Sum, norm and largest absolute value of the finite elements; how many are not zero; how many not finite."""


def wide(device: Any) -> Any:
    """float64, whose sums of squares neither overflow nor vanish; float32 where a device has none."""
    return torch.float32 if device.type == "mps" else torch.float64


def figures(tensor: Any) -> Any:
    """The FIGURES of a tensor, (5,), on its device. What is made in between is small."""
    parts, times = pieces(tensor)
    found = [_of(part) for part in parts if part.numel()]
    if not found:
        return torch.zeros(FIGURES, dtype=wide(tensor.device), device=tensor.device)
    packed = found[0] if len(found) == 1 else _joined(torch.stack(found))
    if times > 1:
        often = [times, math.sqrt(times), 1.0, times, times]
        packed = torch.stack([value * by for value, by in zip(packed.unbind(), often, strict=True)])
    return packed


def summary(shape: Sequence[int], packed: Sequence[float]) -> Summary:
    """What ``figures`` found, on the host, of a tensor of that shape."""
    total, norm, largest, others, bad = packed
    size = math.prod(shape)
    good = size - bad
    return Summary(
        shape=tuple(int(n) for n in shape),
        mean=total / good if good else 0.0,
        rms=norm / math.sqrt(good) if good else 0.0,
        max=largest,
        zeros=(good - others) / size if size else 0.0,
        non_finite=bad / size if size else 0.0,
    )


def column_norms(tensor: Any) -> Any:
    """Root mean square of each column of a (batch, features) tensor, its finite elements alone."""
    values = plain(tensor)
    finite = torch.nan_to_num(_floats(values), 0.0, 0.0, 0.0)
    norms = torch.linalg.vector_norm(finite, dim=0, dtype=wide(values.device))
    return norms / math.sqrt(max(values.shape[0], 1))


def total_norm(tensor: Any) -> Any:
    """Euclidean norm, (), NaN or inf where an element is."""
    if tensor.layout is not torch.strided:
        tensor = plain(tensor)
    return torch.linalg.vector_norm(tensor.detach(), dtype=_norm_dtype(tensor))


def _norm_dtype(tensor: Any) -> Any:
    dtype = wide(tensor.device)
    return dtype.to_complex() if tensor.is_complex() else dtype


def rms_between(after: Any, before: Any) -> Any:
    """Root mean square of after - before, (), in pieces."""
    dtype = wide(after.device)
    (new, times), (old, _) = pieces(after), pieces(before)
    if after.stride() != before.stride() or times > 1:
        new, old = (pieces(t.contiguous())[0] for t in (after, before))
    parts = [
        torch.linalg.vector_norm(a.to(dtype) - b.to(dtype)) for a, b in zip(new, old, strict=True)
    ]
    whole = parts[0] if len(parts) == 1 else torch.linalg.vector_norm(torch.stack(parts))
    return whole / math.sqrt(max(after.numel(), 1))


def _of(values: Any) -> Any:
    """Of a vector, (5,)."""
    dtype = wide(values.device)
    values = _floats(values)
    finite = torch.nan_to_num(values, 0.0, 0.0, 0.0)
    bad = torch.count_nonzero(values != finite)
    top = torch.linalg.vector_norm(finite, math.inf)
    if dtype is torch.float64:
        total, norm = finite.sum(dtype=dtype), torch.linalg.vector_norm(finite, dtype=dtype)
    else:
        by = torch.where(top > 0, top, torch.ones_like(top)).to(dtype)
        scaled = finite.to(dtype) / by
        total, norm = scaled.sum() * by, torch.linalg.vector_norm(scaled) * by
    others = torch.count_nonzero(finite)
    return torch.stack([value.to(dtype) for value in (total, norm, top, others, bad)])


def _joined(parts: Any) -> Any:
    """Of the pieces together, from (pieces, 5)."""
    total, norms, tops, others, bad = parts.unbind(1)
    whole = torch.linalg.vector_norm(norms)
    return torch.stack([total.sum(), whole, tops.amax(), others.sum(), bad.sum()])


def _floats(values: Any) -> Any:
    """Floats of two bytes or more; whole numbers as float64, as NumPy has them."""
    if not values.is_floating_point():
        return values.to(wide(values.device))
    return values.float() if values.element_size() < 2 else values
