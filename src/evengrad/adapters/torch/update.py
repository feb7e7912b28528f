"""The coming update, exactly: one step of a copy of the user's optimizer."""

from __future__ import annotations

import copy
from typing import Any

from evengrad.adapters.torch.tensors import array
from evengrad.probe import Optimizer
from evengrad.statistics import rms_of_difference


def coming_update(optimizer: Any, gradients: dict[int, Any] | None = None) -> dict[int, float]:
    """Parameter id -> rms of its update. gradients: by parameter id, or None for the ``.grad`` at hand.

    The copy has parameters and state of its own; the user's optimizer is only read. Raises whatever the
    optimizer raises when it cannot be copied or stepped.
    """
    originals = [p for group in optimizer.param_groups for p in group["params"]]
    twin = copy.deepcopy(optimizer)
    copies = [p for group in twin.param_groups for p in group["params"]]
    for original, twin_parameter in zip(originals, copies, strict=True):
        gradient = original.grad if gradients is None else gradients.get(id(original))
        twin_parameter.grad = None if gradient is None else gradient.detach().clone()
    twin.step()
    return {
        id(original): rms_of_difference(array(after), array(original))
        for original, after in zip(originals, copies, strict=True)
        if after.grad is not None
    }


def describe(optimizer: Any) -> Optimizer:
    """Name and learning rate."""
    rate = optimizer.param_groups[0].get("lr") if optimizer.param_groups else None
    return Optimizer(type(optimizer).__name__, None if rate is None else float(rate))
