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
    return {
        id(original): rms_of_difference(array(after), array(original))
        for original, after in coming_step(optimizer, gradients)[0]
    }


def coming_step(
    optimizer: Any, gradients: dict[int, Any] | None = None
) -> tuple[list[tuple[Any, Any]], dict[int, Any]]:
    """Each parameter that will move with its value after the step, and parameter id -> the second
    moment's root that the step was divided by, for optimizers that do so.
    """
    originals = [p for group in optimizer.param_groups for p in group["params"]]
    twin = copy.deepcopy(optimizer)
    copies = [p for group in twin.param_groups for p in group["params"]]
    for original, twin_parameter in zip(originals, copies, strict=True):
        gradient = original.grad if gradients is None else gradients.get(id(original))
        twin_parameter.grad = None if gradient is None else gradient.detach().clone()
    twin.step()
    moved = [(o, c) for o, c in zip(originals, copies, strict=True) if c.grad is not None]
    scales = {id(o): s for o, c in moved if (s := _scale(twin, c)) is not None}
    return moved, scales


def _scale(optimizer: Any, parameter: Any) -> Any:
    """Sqrt of the second moment plus epsilon, as Adam, RMSprop and Adagrad divide by it."""
    state = optimizer.state.get(parameter, {})
    group = next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
    if "exp_avg_sq" in state:
        step = float(state.get("step", 1))
        second = state["exp_avg_sq"] / (1 - group["betas"][1] ** step)
    elif "square_avg" in state:
        second = state["square_avg"]
    elif "sum" in state:
        second = state["sum"]
    else:
        return None
    return second.sqrt() + group.get("eps", 1e-8)


def describe(optimizer: Any) -> Optimizer:
    """Name and learning rate."""
    rate = optimizer.param_groups[0].get("lr") if optimizer.param_groups else None
    return Optimizer(type(optimizer).__name__, None if rate is None else float(rate))
