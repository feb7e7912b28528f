"""Reads gradients, and holds updates back, without changing a bit of what is computed anyway.

A compiler that sees a second reader of a gradient fuses and reorders otherwise, and the last bits change. So
the figures read copies that no compiler takes for the same, and the update is computed as it would be without
us, and put back where it is not to be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from evengrad.adapters.keras import compat

_ELEMENTWISE = {
    "Add",
    "AddN",
    "AddV2",
    "Mul",
    "Neg",
    "Sub",
}  # what Grappler reorders where it is read once
_DEEP = 8
_IN_A_BRANCH = {"Adadelta", "Adagrad", "Adam", "Adamax", "Ftrl", "RMSprop", "SGD"}
_LARGE = 4096
_KERNELS = {"dot_general", "conv_general_dilated"}
_MOVES = {"transpose", "reshape", "squeeze", "rev"}
_OWN_SLOTS = {
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "Adamax",
    "AdamW",
    "Ftrl",
    "Lion",
    "Nadam",
    "RMSprop",
}
"""Keras' optimizers in which a gradient meets a variable before it meets the rate: Grappler reorders nothing
across, and the whole update may stand in a branch, which spares a copy of the weights. Not so SGD.
"""


def copies(values: Sequence[Any], jit: bool) -> list[Any]:
    """The same tensors, to be read besides the update. jit: TensorFlow compiles the step by XLA."""
    own = [ops.convert_to_tensor(v) for v in values]
    backend = keras.backend.backend()
    if backend == "jax" and own:
        import jax

        return list(jax.lax.optimization_barrier(own))
    return [_again(v, jit, 0) for v in own] if backend == "tensorflow" else own


def choose(
    passed: Any,
    update: Callable[[], None],
    variables: list[Any],
    pairs: Sequence[tuple[Any, Any]],
    optimizer: Any,
    jit: bool,
    exact: bool,
) -> None:
    """Update the variables, or leave them as they are.

    Args:
        passed: whether the step may reach them, a bool scalar.
        update: the update.
        variables: weights and optimizer state.
        pairs: gradients and weights, of those whose update may stand in a branch.
        optimizer: that makes the update.
        jit: whether TensorFlow compiles the step by XLA.
        exact: to the last bit what the update would be without us; a clip changes it anyway.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        if bool(passed):
            update()
        return
    if backend == "jax":
        shapes = _separate(pairs, exact) if not exact or _plain(optimizer) else set()
        _choose_jax(passed, update, variables, shapes)
        return
    if not jit and type(optimizer).__name__ in _OWN_SLOTS and not optimizer.use_ema:
        ops.cond(passed, update, lambda: None)
        return
    import tensorflow as tf

    before = [tf.identity(v.value) for v in variables]
    update()

    def put_back() -> None:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)

    ops.cond(passed, lambda: None, put_back)


def _choose_jax(
    passed: Any, update: Callable[[], None], variables: list[Any], shapes: set[tuple[int, ...]]
) -> None:
    """The update stands in a branch for variables of these shapes, in place; for all others it is computed as
    it would be without us, and put back where it is not to be. (What is not used of either goes.)
    """
    import jax

    old = [v.value for v in variables]
    inner = [v for v in variables if tuple(v.shape) in shapes]
    outer = [v for v in variables if tuple(v.shape) not in shapes]

    def restore() -> None:
        for variable, value in zip(variables, old, strict=True):
            variable.assign(value)

    def branch(_: Any) -> Any:
        restore()
        update()
        return [v.value for v in inner]

    found: list[Any] = []
    if inner:
        found = jax.lax.cond(passed, branch, lambda values: values, [v.value for v in inner])
        restore()
    before = [v.value for v in outer]
    update()
    after = jax.lax.optimization_barrier([v.value for v in outer])
    kept = jax.lax.cond(passed, lambda new, _: new, lambda _, old: old, after, before)
    for variable, value in zip([*inner, *outer], [*found, *kept], strict=True):
        variable.assign(value)


def _plain(optimizer: Any) -> bool:
    """Whether its update is the same in a branch: measured, with nothing of Keras' own around it."""
    around = ("centered", "use_ema", "clipnorm", "clipvalue", "global_clipnorm", "weight_decay")
    return type(optimizer).__name__ in _IN_A_BRANCH and not any(
        getattr(optimizer, name, None) for name in around
    )


def _separate(pairs: Sequence[tuple[Any, Any]], exact: bool) -> set[tuple[int, ...]]:
    """Shapes of large weights whose gradients XLA makes in a kernel of their own, so that an update in a
    branch is the same to the last bit. One behind a multiplication would be fused with the update, and rounded
    once less.
    """
    large = [(g, tuple(v.shape)) for g, v in pairs if math.prod(v.shape) > _LARGE]
    fused = {shape for g, shape in large if exact and not _own_kernel(g)}
    return {shape for _, shape in large} - fused


def _own_kernel(gradient: Any) -> bool:
    for _ in range(_DEEP):
        equation = getattr(gradient, "parent", None)
        name = str(getattr(equation, "primitive", None))
        if name in _KERNELS:
            return True
        if name not in _MOVES:
            return False
        gradient = equation.in_tracers[0]  # type: ignore[union-attr]
    return False


def _again(value: Any, jit: bool, depth: int) -> Any:
    """A tensor of a TensorFlow graph, computed a second time as far as it is elementwise; told apart by an
    attribute for Grappler, by a barrier for XLA.
    """
    import tensorflow as tf

    if isinstance(value, tf.Variable):  # in which a loop sums gradients up
        return tf.identity(value)
    if tf.executing_eagerly():
        return value
    operation = value.op
    if operation.type not in _ELEMENTWISE or depth == _DEEP:
        return compat.xla_barrier(value) if jit and depth else value
    inputs = [_again(v, jit, depth + 1) for v in operation.inputs]
    return compat.copied_operation(operation, inputs, value.dtype, "_evengrad_copy")
