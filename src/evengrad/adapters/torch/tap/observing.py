"""An observed step's figures on an accelerator: as many launches for 1,000 tensors as for 10."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from evengrad.adapters.torch.compat import foreach_norm
from evengrad.adapters.torch.tap.reading import Observation, sample
from evengrad.values.run import Floats


class DeviceObservation(Observation):
    """The same figures by operators that take all tensors at once; tensors as ``alike`` wants them."""

    def __init__(self, parameters: Sequence[Any], indices: Sequence[int], rows: int) -> None:
        self._begin(parameters, indices, rows)
        moved = [p for p in parameters if p.grad is not None]
        self._moved = moved
        self._weights = list_norms(parameters)
        self._sampled: list[int] = []
        if not moved:
            return
        gradients = [p.grad for p in moved]
        self._largest = list(foreach_norm(gradients, math.inf, torch.float32))
        parts = [sample(gradient) for gradient in gradients]
        self._sampled = [part.numel() for part in parts]
        signs = torch.cat(parts).sign_()
        self._others = list(foreach_norm(signs.split(self._sampled), 1, torch.float32))
        self._old = torch.cat([sample(p) for p in moved])

    def after(self) -> list[Any]:
        """After the step: what ``rows`` needs, where it is."""
        if not self._moved:
            return [self._weights]
        difference = torch.cat([sample(p) for p in self._moved]).sub_(self._old)
        norms = foreach_norm(difference.split(self._sampled), 2, torch.float32)
        return [self._weights, torch.stack([*self._largest, *self._others, *norms])]

    def rows(self, host: Sequence[Floats], gradient_rms: Floats, divide: float) -> Floats:
        """(rows, TENSOR_FIGURES). divide: the gradients are too large by that."""
        found = np.full((self._rows, 5), np.nan)
        found[:, 3] = self.weight_rms(host[0])
        if self._own:
            largest, others, norms = host[1].reshape(3, -1)
            sizes = np.maximum(self._sampled, 1)
            found[self._own, 0] = gradient_rms[self._own]
            found[self._own, 1] = largest / divide
            found[self._own, 2] = 1 - others / sizes
            found[self._own, 4] = norms / np.sqrt(sizes)
        return found


def alike(parameters: Sequence[Any]) -> bool:
    """Whether operators for lists of tensors take these and their gradients at once: dense floats of one dtype
    on one device, none of them in shards.
    """
    first = parameters[0]
    tensors = [t for p in parameters for t in (p, p.grad) if t is not None]
    return all(
        t.device == first.device
        and t.dtype == first.dtype
        and t.is_floating_point()
        and t.layout is torch.strided
        and t.numel() > 0
        and not hasattr(t, "full_tensor")
        for t in tensors
    )


def list_norms(tensors: Sequence[Any], dtype: Any = torch.float32) -> Any:
    """L2 norm of each of some that are ``alike``, (tensors,); one launch or two. dtype: None for their own."""
    return packed(foreach_norm(tensors, 2, dtype))


def packed(numbers: Sequence[Any]) -> Any:
    """Scalars as one tensor; on CUDA the norms of a list lie side by side, and nothing is copied."""
    first, last, count = numbers[0], numbers[-1], len(numbers)
    one = first.untyped_storage().data_ptr() == last.untyped_storage().data_ptr()
    if one and last.data_ptr() - first.data_ptr() == (count - 1) * first.element_size():
        return first.as_strided((count,), (1,))
    return torch.stack(list(numbers))
