"""The coming update, exactly: one step of a copy of the user's optimizer on copies of the weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.differentiate import array
from evengrad.probe import Optimizer
from evengrad.statistics import rms_of_difference


def coming_update(optimizer: Any, variables: list[Any], gradients: list[Any]) -> list[float | None]:
    """Rms of each variable's update. gradients: of the whole loss, None where there is none.

    The user's optimizer is only read. Raises whatever Keras raises where it cannot be copied or stepped.
    """
    after, _ = coming_step(optimizer, variables, gradients)
    return [
        None if a is None else rms_of_difference(array(a), array(v.value))
        for a, v in zip(after, variables, strict=True)
    ]


def coming_step(
    optimizer: Any, variables: list[Any], gradients: list[Any]
) -> tuple[list[Any], list[Any]]:
    """Each variable's value after the step, None for those that do not move; and what the step was divided
    by, for optimizers that do so.
    """
    inner = unscaled(optimizer)
    twin = type(inner).from_config(inner.get_config())
    twin._is_copy_of_evengrad = True
    copies = [
        keras.Variable(array(v.value), dtype=v.dtype, name=v.name, trainable=True)
        for v in variables
    ]
    twin.build(copies)
    if inner.built:
        for mine, theirs in zip(twin.variables, inner.variables, strict=True):
            mine.assign(theirs)
    else:
        twin.iterations.assign(inner.iterations)
    pairs = [(g, c) for g, c in zip(gradients, copies, strict=True) if g is not None]
    twin.apply_gradients(pairs)
    after = [None if g is None else c.value for g, c in zip(gradients, copies, strict=True)]
    return after, [_scale(twin, i) for i in range(len(copies))]


def _scale(optimizer: Any, i: int) -> Any:
    """Root of the second moment plus epsilon, as Adam, RMSprop and Adagrad divide by it; else None."""
    epsilon = float(getattr(optimizer, "epsilon", 1e-7) or 0.0)
    if hasattr(optimizer, "_velocities") and hasattr(optimizer, "beta_2"):
        steps = int(array(optimizer.iterations))
        second = array(optimizer._velocities[i].value) / (1 - optimizer.beta_2**steps)
    elif hasattr(optimizer, "_velocities") and hasattr(optimizer, "rho"):
        second = array(optimizer._velocities[i].value)
    elif hasattr(optimizer, "_accumulators"):
        second = array(optimizer._accumulators[i].value)
    else:
        return None
    return np.sqrt(second) + epsilon


def is_copy(optimizer: Any) -> bool:
    """Whether it is one of our own copies."""
    return getattr(optimizer, "_is_copy_of_evengrad", False)


def unscaled(optimizer: Any) -> Any:
    """The optimizer that moves the weights, inside a LossScaleOptimizer."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def loss_scale(optimizer: Any) -> float:
    """By how much the training multiplies its loss: 1 but under mixed_float16."""
    if not hasattr(optimizer, "inner_optimizer"):
        return 1.0
    scale = optimizer.dynamic_scale if optimizer.built else optimizer.initial_scale
    return float(np.asarray(keras.ops.convert_to_numpy(scale)))


def describe(optimizer: Any) -> Optimizer:
    """Name and present learning rate."""
    inner = unscaled(optimizer)
    rate = np.asarray(keras.ops.convert_to_numpy(inner.learning_rate))
    return Optimizer(type(inner).__name__, float(rate))
