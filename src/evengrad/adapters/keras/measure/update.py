"""The coming update, exactly: one step of a copy of the user's optimizer on copies of the weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import array, precise
from evengrad.values.probe import Optimizer
from evengrad.values.summary import rms_of_difference

_OF_BATCHES = ("gradient_accumulation_steps", "loss_scale_factor")


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
    optimizer: Any, variables: list[Any], gradients: list[Any], values: list[Any] | None = None
) -> tuple[list[Any], list[Any]]:
    """Each variable's move, None for those that do not move; and what it was divided by, for optimizers that
    do so. Both as arrays. values: of the variables, where it is made elsewhere than they are.

    The step is taken in float64 where the backend has it: at small rates float32 weights would swallow most
    of the move.
    """
    try:
        with precise():
            return _step(optimizer, variables, gradients, "float64", values)
    except Exception:  # no float64 on this device, or the optimizer mixes in tensors of its own
        return _step(optimizer, variables, gradients, None, values)


def _step(
    optimizer: Any,
    variables: list[Any],
    gradients: list[Any],
    dtype: str | None,
    values: list[Any] | None,
) -> tuple[list[Any], list[Any]]:
    here = [v.value for v in variables] if values is None else values
    twin, copies = _stepped(optimizer, variables, gradients, dtype, here)
    moves = [
        None if g is None else (array(c.value) - array(h)).astype(np.float32)
        for g, c, h in zip(gradients, copies, here, strict=True)
    ]
    return moves, [_scale(twin, c) for c in copies]


def _stepped(
    optimizer: Any,
    variables: list[Any],
    gradients: list[Any],
    dtype: str | None = None,
    values: list[Any] | None = None,
) -> tuple[Any, list[Any]]:
    """A copy of the optimizer and copies of the variables, after one step. values: theirs. Where
    gradients are accumulated, the step is the one that all batches give together if they are like this one.
    """
    inner = unscaled(optimizer)
    config = inner.get_config()
    config |= {key: None for key in _OF_BATCHES if key in config}
    twin = type(inner).from_config(config)
    twin.is_copy_of_evengrad = True
    copies = [
        keras.Variable(array(h), dtype=dtype or v.dtype, name=v.name, trainable=True)
        for v, h in zip(variables, values or [v.value for v in variables], strict=True)
    ]
    twin.build(copies)
    if inner.built:
        sums = {id(v) for v in compat.accumulated(inner)}
        kept = [v for v in inner.variables if id(v) not in sums]
        for mine, theirs in zip(twin.variables, kept, strict=True):
            mine.assign(theirs)
    compat.set_iterations(twin, inner.iterations)
    if inner.gradient_accumulation_steps:  # schedules count batches
        compat.fix_rate(twin, float(array(inner.learning_rate)))
    pairs = [
        (g if dtype is None else keras.ops.cast(g, dtype), c)
        for g, c in zip(gradients, copies, strict=True)
        if g is not None
    ]
    twin.apply_gradients(pairs)
    return twin, copies


def _scale(optimizer: Any, variable: Any) -> npt.NDArray[Any] | None:
    """What Keras' own formulas divide by, bias correction included; None for optimizers that do not."""
    known = keras.optimizers
    if not isinstance(
        optimizer, known.Adam | known.Nadam | known.Adamax | known.RMSprop | known.Adagrad
    ):
        return None
    epsilon = float(optimizer.epsilon)

    def kept(name: str) -> npt.NDArray[Any]:
        found = compat.slot(optimizer, name, variable)
        if found is None:
            raise LookupError(f"Keras' {type(optimizer).__name__} keeps no {name}")
        return _plain(found)

    if isinstance(optimizer, known.Adagrad):
        return np.sqrt(kept("accumulators") + epsilon)
    if isinstance(optimizer, known.Adamax):
        return kept("u") + epsilon
    if isinstance(optimizer, known.RMSprop):
        second = kept("velocities")
        if optimizer.centered:
            second = second - kept("average_gradients") ** 2
        return np.sqrt(np.maximum(second, 0.0) + epsilon)
    root = np.sqrt(kept("velocity_hats" if getattr(optimizer, "amsgrad", False) else "velocities"))
    correction = np.sqrt(1 - float(optimizer.beta_2) ** int(array(optimizer.iterations)))
    if isinstance(optimizer, known.Nadam):
        return root / correction + epsilon
    return (root + epsilon) / correction


def _plain(variable: Any) -> npt.NDArray[Any]:
    return np.array(array(variable.value), dtype=np.float64)


def is_copy(optimizer: Any) -> bool:
    """Whether it is one of our own copies."""
    return getattr(optimizer, "is_copy_of_evengrad", False)


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
