"""Reads gradients, and holds updates back, without changing a bit of what is computed anyway.

A compiler that sees a second reader of a gradient fuses and reorders otherwise, and the last bits change. So
the figures read copies that no compiler takes for the same, and the update is computed as it would be without
us, and put back where it is not to be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

_ELEMENTWISE = {
    "Add",
    "AddN",
    "AddV2",
    "Mul",
    "Neg",
    "Sub",
}  # what Grappler reorders where it is read once
_DEEP = 8
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
    passed: Any, update: Callable[[], None], variables: list[Any], optimizer: Any, jit: bool
) -> None:
    """Update the variables, which are weights and optimizer state, or leave them as they are."""
    backend = keras.backend.backend()
    if backend == "torch":
        if bool(passed):
            update()
        return
    if backend == "jax":
        import jax

        old = [v.value for v in variables]
        update()
        new = jax.lax.optimization_barrier([v.value for v in variables])
        found = jax.lax.cond(passed, lambda new, _: new, lambda _, old: old, new, old)
        for variable, value in zip(variables, found, strict=True):
            variable.assign(value)
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


def _again(value: Any, jit: bool, depth: int) -> Any:
    """A tensor of a TensorFlow graph, computed a second time as far as it is elementwise; told apart by an
    attribute for Grappler, by a barrier for XLA.
    """
    import tensorflow as tf
    from tensorflow.compiler.tf2xla.python import xla
    from tensorflow.core.framework import attr_value_pb2

    if tf.executing_eagerly():
        return value
    operation = value.op
    if operation.type not in _ELEMENTWISE or depth == _DEEP:
        return xla.optimization_barrier(value)[0] if jit and depth else value
    again = operation.graph._create_op_internal(
        operation.type,
        [_again(v, jit, depth + 1) for v in operation.inputs],
        [value.dtype],
        attrs={k: v for k, v in operation.node_def.attr.items() if not k.startswith("_")},
    )
    again._set_attr("_evengrad_copy", attr_value_pb2.AttrValue(b=True))
    return again.outputs[0]
