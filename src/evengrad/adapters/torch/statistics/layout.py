"""A tensor's elements in the order of memory, in pieces of which a copy is small."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch

_PIECE = 1 << 24
"""Elements: what is worked out of a piece in between takes at most some 64 MiB at once."""


def local(tensor: Any) -> Any:
    """Of a tensor in shards the part of this process; any other as it is."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def plain(tensor: Any) -> Any:
    """Dense, complex numbers as pairs; a view wherever that can be."""
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor


def array(tensor: Any) -> npt.NDArray[Any]:
    """A tensor as NumPy: dense, short floats as float32, complex numbers as pairs."""
    tensor = plain(tensor)
    if tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    found: npt.NDArray[Any] = tensor.cpu().resolve_neg().numpy()
    return found


def flat(tensor: Any) -> Any:
    """A tensor's elements as a vector, in the order of memory: a view wherever they lie side by side."""
    tensor = tensor.detach()
    if tensor.is_sparse:
        tensor = tensor.coalesce().values()
    tensor = local(tensor)
    if tensor.is_contiguous():
        return tensor.view(-1)
    return _ordered(tensor).reshape(-1)


def pieces(tensor: Any) -> tuple[list[Any], int]:
    """Vectors that hold every element as often as memory does, and how often the tensor has each of them.

    An expanded tensor (the gradient of a sum) has one element in memory many times.
    """
    tensor, times = _unexpanded(plain(tensor))
    if tensor.is_contiguous():
        return list(tensor.view(-1).split(_PIECE)), times
    tensor = _ordered(tensor)
    if tensor.is_contiguous():
        return list(tensor.view(-1).split(_PIECE)), times
    rows = max(_PIECE // max(tensor[0].numel(), 1), 1)
    return [part.reshape(-1) for part in tensor.split(rows)], times


def _unexpanded(tensor: Any) -> tuple[Any, int]:
    times = 1
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            tensor, times = tensor.narrow(axis, 0, 1), times * size
    return tensor, times


def _ordered(tensor: Any) -> Any:
    """Its axes as they lie in memory, the slowest first."""
    strides = tensor.stride()
    return tensor.permute(sorted(range(tensor.ndim), key=lambda axis: -strides[axis]))
