"""What a step's gradients and weights say of themselves, read at the least cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from evengrad.adapters.torch.compat import foreach_norm
from evengrad.adapters.torch.sharding.pieces import here
from evengrad.adapters.torch.statistics.layout import flat, local
from evengrad.values.run import Floats

_SAMPLE = 1 << 16
_LARGE = 1 << 14
_DOT = (torch.float32, torch.float64)


def norms(gradients: Sequence[Any]) -> Any:
    """L2 norm of each gradient, packed into one tensor (len(gradients),) on their device.

    By dot products where they are large: faster than ``foreach_norm`` and more exact. Short floats are
    summed in float32. Where squares overflow float32 a norm is inf, where they vanish it is 0; ``exact`` tells.
    """
    if all(_plain(g) for g in gradients):
        return plain_norms(gradients, large_ones(gradients))
    parts = []
    for gradient in gradients:
        if hasattr(gradient, "full_tensor"):  # sharded: the norm over all shards
            parts.append(torch.linalg.vector_norm(gradient).full_tensor())
            continue
        values = flat(gradient)
        if values.dtype in _DOT:
            parts.append(torch.dot(values, values).sqrt())
        else:
            parts.append(torch.linalg.vector_norm(values, dtype=torch.float32))
    device, dtype = parts[0].device, parts[0].dtype
    if any(part.device != device or part.dtype != dtype for part in parts):
        parts = [part.to(device, torch.float64) for part in parts]
    return torch.stack(parts)


def plain_norms(gradients: Sequence[Any], large: Sequence[int]) -> Any:
    """Of dense float32 tensors: those named by one dot product each, all others together."""
    small = [g for i, g in enumerate(gradients) if i not in large] if large else gradients
    parts = list(foreach_norm(small)) if small else []
    for i in large:
        values = gradients[i].detach().view(-1)
        parts.insert(i, torch.dot(values, values).sqrt_())
    return torch.stack(parts)


def large_ones(tensors: Sequence[Any]) -> list[int]:
    """Which of them a dot product reads faster, on the CPU; ascending."""
    if tensors[0].device.type != "cpu":
        return []
    return [i for i, t in enumerate(tensors) if t.numel() > _LARGE and t.is_contiguous()]


class NormPlan:
    """How the gradients of one list of parameters are read, worked out once. places: of each in a row."""

    def __init__(self, parameters: Sequence[Any], index: Mapping[int, int]) -> None:
        self.ids = [id(p) for p in parameters]
        places = [index[i] for i in self.ids]
        whole = places == list(range(len(index)))
        self.places: Any = slice(None) if whole else np.array(places, dtype=np.int64)
        gradients = [here(p) for p in parameters]
        self._plain = bool(gradients) and all(_plain(g) for g in gradients)
        self._large = large_ones(gradients) if self._plain else []

    def norms(self, gradients: Sequence[Any]) -> Any:
        """As ``norms``."""
        return plain_norms(gradients, self._large) if self._plain else norms(gradients)


def _plain(gradient: Any) -> bool:
    kind = type(gradient)
    plain = kind is torch.Tensor or kind is torch.nn.Parameter
    return plain and gradient.dtype is torch.float32 and gradient.layout is torch.strided


def exact(gradient: Any) -> float:
    """L2 norm summed in float64, over all shards: NaN or inf only where the gradient is."""
    if hasattr(gradient, "full_tensor"):
        return float(torch.linalg.vector_norm(gradient.double()).full_tensor())
    return float(torch.linalg.vector_norm(flat(gradient), dtype=torch.float64))


def non_finite(gradient: Any) -> int:
    """How many elements are NaN or inf."""
    values = flat(gradient)
    return int(values.numel() - torch.isfinite(values).sum())


def sample(tensor: Any) -> Any:
    """A vector of at most 65,536 elements at equal distances, or all of them; a view."""
    values = flat(tensor)
    return values[:: -(-values.numel() // _SAMPLE)] if values.numel() > _SAMPLE else values


def as_host(packed: Any) -> Floats:
    """A packed tensor as float64 on the host: the one read of a step."""
    found: Floats = packed.detach().cpu().numpy().astype(np.float64)
    return found


def together(parts: Sequence[Any]) -> list[Floats]:
    """Several tensors on the host, each in its shape, by one read."""
    sizes = [part.numel() for part in parts]
    flat_parts = [part.detach().reshape(-1).float() for part in parts]
    if not flat_parts:
        return []
    whole = as_host(torch.cat(flat_parts))
    ends = np.cumsum(sizes)[:-1]
    return [
        values.reshape(tuple(part.shape))
        for values, part in zip(np.split(whole, ends), parts, strict=True)
    ]


class Observation:
    """An observed step's figures, one row a tensor; made before the step, ``after`` it, and then read.

    Shares of zeros and the actual update are of ``sample``.
    """

    def __init__(self, parameters: Sequence[Any], indices: Sequence[int], rows: int) -> None:
        self._begin(parameters, indices, rows)
        with_gradient = [p for p in parameters if p.grad is not None]
        self._weights = norms([local(p) for p in parameters])
        self._figures = [_figures(here(p)) for p in with_gradient]
        self._before = [(p, sample(p).clone()) for p in with_gradient]

    def _begin(self, parameters: Sequence[Any], indices: Sequence[int], rows: int) -> None:
        self._parameters = parameters
        self._indices = list(indices)
        self._rows = rows
        self._own = [i for i, p in zip(indices, parameters, strict=True) if p.grad is not None]

    def weight_rms(self, host: Floats) -> Floats:
        """(rows,), from ``weights`` on the host."""
        found = np.full(self._rows, np.nan)
        found[self._indices] = host / np.sqrt([max(size, 1) for size in self.sizes])
        return found

    @property
    def sizes(self) -> list[int]:
        """Elements of this process's part of each weight."""
        return [local(p).numel() for p in self._parameters]

    @property
    def weights(self) -> Any:
        """Norms of the weights, (parameters,), where they are."""
        return self._weights

    def after(self) -> list[Any]:
        """After the step: what ``rows`` needs, where it is."""
        moved = [_rms_between(sample(p), before) for p, before in self._before]
        return [self._weights, *map(torch.stack, (self._figures, moved) if moved else ())]

    def rows(self, host: Sequence[Floats], gradient_rms: Floats, divide: float) -> Floats:
        """(rows, TENSOR_FIGURES). divide: the gradients are too large by that."""
        found = np.full((self._rows, 5), np.nan)
        found[:, 3] = self.weight_rms(host[0])
        if self._own:
            found[self._own, 0] = gradient_rms[self._own]
            found[self._own, 1] = host[1][:, 0] / divide
            found[self._own, 2] = host[1][:, 1]
            found[self._own, 4] = host[2]
        return found


def _figures(gradient: Any) -> Any:
    """Largest absolute value, and the share of zeros."""
    values = flat(gradient)
    if values.numel() == 0:
        return torch.zeros(2, device=values.device)
    low, high = torch.aminmax(values)
    part = sample(gradient)
    zeros = 1 - torch.count_nonzero(part) / part.numel()
    return torch.stack([torch.maximum(low.abs(), high.abs()).float(), zeros.float()])


def _rms_between(after: Any, before: Any) -> Any:
    norm = torch.linalg.vector_norm(after.float() - before.float())
    return norm / math.sqrt(max(after.numel(), 1))
