"""Everything that a probe might touch, kept before and put back after."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from evengrad.adapters.torch.statistics.layout import plain
from evengrad.adapters.torch.statistics.ledger import together


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
            for tensor, value in changed(tensors, kept):
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


def changed(tensors: list[Any], before: list[Any]) -> list[tuple[Any, Any]]:
    """Those that are no more what they were, bit for bit, each with what it was; by one read a device."""
    found: list[tuple[Any, Any]] = []
    looked: list[tuple[Any, Any]] = []
    for pair in zip(tensors, before, strict=True):
        if any(hasattr(t, "full_tensor") for t in pair):
            found.append(pair)
        elif not pair[0].is_meta and pair[0].numel():
            looked.append(pair)
    differing = together([_differing(*pair) for pair in looked])
    return found + [pair for pair, differs in zip(looked, differing, strict=True) if differs]


def _differing(tensor: Any, value: Any) -> Any:
    now, was = plain(tensor), plain(value)
    whole = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[now.element_size()]
    if now.dtype is not torch.bool:
        now, was = now.view(whole), was.view(whole)
    return (now != was).any()
