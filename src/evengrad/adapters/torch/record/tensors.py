"""Tensors as NumPy, and their figures."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch

from evengrad.values.summary import Summary, summarise


def summary_of(tensor: Any) -> Summary:
    """Figures of a tensor on any device, of any layout and any dtype."""
    return summarise(array(tensor))


def local(tensor: Any) -> Any:
    """Of a tensor in shards the part of this process; any other as it is."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def array(tensor: Any) -> npt.NDArray[Any]:
    """A tensor as NumPy: dense, short floats as float32, complex numbers as pairs."""
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    found: npt.NDArray[Any] = tensor.cpu().resolve_neg().numpy()
    return found
