"""The coming update, exactly: one step of a copy of the user's optimizer on copies of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from evengrad.adapters.keras.differentiate import array, precise
from evengrad.probe import Optimizer
from evengrad.statistics import rms_of_difference


@dataclass(frozen=True, slots=True)
class Step:
    """Of one variable: its move, and what the optimizer divided by: the root of the second moment plus
    epsilon, None for optimizers that do not. Both of the variable's shape.
    """

    move: npt.NDArray[Any]
    scale: npt.NDArray[Any] | None


def coming_update(optimizer: Any, variables: list[Any], gradients: list[Any]) -> list[float | None]:
    """Rms of each variable's update. gradients: of the whole loss, None where there is none.

    The user's optimizer is only read. Raises whatever Keras raises where it cannot be copied or stepped.
    """
    _, copies = _stepped(optimizer, variables, gradients)
    return [
        None if g is None else rms_of_difference(array(c.value), array(v.value))
        for g, c, v in zip(gradients, copies, variables, strict=True)
    ]


def coming_step(
    optimizer: Any, variables: list[Any], gradients: list[Any], dtype: str = "float64"
) -> list[Step | None]:
    """Each variable's step, None where it has no gradient. dtype: to step in; at small rates the float32
    weights would swallow most of the move.
    """
    with precise():
        twin, copies = _stepped(optimizer, variables, gradients, dtype)
        return [
            None
            if g is None
            else Step(np.array(array(c.value)) - array(v.value).astype(dtype), _scale(twin, c))
            for g, c, v in zip(gradients, copies, variables, strict=True)
        ]


def _stepped(
    optimizer: Any, variables: list[Any], gradients: list[Any], dtype: str | None = None
) -> tuple[Any, list[Any]]:
    """A copy of the optimizer and copies of the variables, after one step."""
    inner = unscaled(optimizer)
    twin = type(inner).from_config(inner.get_config())
    twin._is_copy_of_evengrad = True
    copies = [
        keras.Variable(array(v.value), dtype=dtype or v.dtype, name=v.name, trainable=True)
        for v in variables
    ]
    twin.build(copies)
    if inner.built:
        for mine, theirs in zip(twin.variables, inner.variables, strict=True):
            mine.assign(theirs)
    else:
        twin.iterations.assign(inner.iterations)
    pairs = [
        (g if dtype is None else keras.ops.cast(g, dtype), c)
        for g, c in zip(gradients, copies, strict=True)
        if g is not None
    ]
    twin.apply_gradients(pairs)
    return twin, copies


def _scale(optimizer: Any, variable: Any) -> npt.NDArray[Any] | None:
    """What Keras' own formulas divide the momentum by, bias correction included."""
    known = keras.optimizers
    if not isinstance(
        optimizer, known.Adam | known.Nadam | known.Adamax | known.RMSprop | known.Adagrad
    ):
        return None
    i, epsilon = optimizer._get_variable_index(variable), float(optimizer.epsilon)
    if isinstance(optimizer, known.Adagrad):
        return np.sqrt(_plain(optimizer._accumulators[i]) + epsilon)
    if isinstance(optimizer, known.Adamax):
        return _plain(optimizer._u[i]) + epsilon
    if isinstance(optimizer, known.RMSprop):
        second = _plain(optimizer._velocities[i])
        if optimizer.centered:
            second = second - _plain(optimizer._average_gradients[i]) ** 2
        return np.sqrt(second + epsilon)
    hats = optimizer._velocity_hats if getattr(optimizer, "amsgrad", False) else None
    second = _plain((hats or optimizer._velocities)[i])
    taken = int(np.asarray(keras.ops.convert_to_numpy(optimizer.iterations)))
    correction = 1 - float(optimizer.beta_2) ** max(taken, 1)
    if isinstance(optimizer, known.Nadam):
        return np.sqrt(second / correction) + epsilon
    return (np.sqrt(second) + epsilon) / np.sqrt(correction)


def _plain(variable: Any) -> npt.NDArray[Any]:
    return np.array(array(variable.value), dtype=np.float64)


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
