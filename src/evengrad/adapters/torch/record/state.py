"""Everything that a probe might touch, kept before and put back after."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Weights, buffers, gradients, training flags and random states are bit for bit what they were."""
    tensors = [*model.parameters(), *model.buffers()]
    kept = [t.detach().clone() for t in tensors]
    gradients = [p.grad for p in model.parameters()]
    flags = [(module, module.training) for module in model.modules()]
    try:
        with noise_kept():
            yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, kept, strict=True):
                if not _same(tensor, value):
                    tensor.copy_(value)
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        for module, training in flags:
            module.training = training


@contextmanager
def noise_kept() -> Iterator[None]:
    """Random states are what they were."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


def _same(tensor: Any, value: Any) -> bool:
    """Equal bit for bit; NaN counts as itself."""
    if tensor.is_floating_point():
        return bool(
            torch.equal(torch.nan_to_num(tensor.detach()), torch.nan_to_num(value))
        ) and bool(torch.equal(tensor.detach().isnan(), value.isnan()))
    return bool(torch.equal(tensor, value))
