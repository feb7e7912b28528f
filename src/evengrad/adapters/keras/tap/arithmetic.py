"""The arithmetic of clips and guards in Keras' own operations, inside a compiled step or out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from evengrad.recording.clip import AnyArray


class InStep:
    """``clip.Namespace`` on any backend."""

    sqrt = staticmethod(ops.sqrt)
    exp = staticmethod(ops.exp)
    log = staticmethod(ops.log)
    abs = staticmethod(ops.abs)
    sum = staticmethod(ops.sum)
    sort = staticmethod(ops.sort)
    where = staticmethod(ops.where)
    minimum = staticmethod(ops.minimum)
    maximum = staticmethod(ops.maximum)
    isfinite = staticmethod(ops.isfinite)

    @staticmethod
    def arange(n: int) -> AnyArray:
        """0 to n - 1, as floats."""
        return ops.arange(n, dtype="float32")

    @staticmethod
    def take(x: AnyArray, index: AnyArray) -> AnyArray:
        """The element at a whole number that is a float."""
        return ops.take(x, ops.cast(index, "int32"))


def norms(gradients: Sequence[Any]) -> Any:
    """L2 norms of gradients, (gradients,), as float32. Where squares overflow (1e19) or vanish (1e-24), all are
    read once more, scaled by their largest values.
    """
    squares = ops.stack([_square(g) for g in gradients])
    fine = ops.isfinite(squares) & (squares > 0)

    def again() -> Any:
        return ops.stack([_scaled(g) for g in gradients])

    return ops.cond(ops.all(fine), lambda: ops.sqrt(squares), again)


def more(gradients: Sequence[Any]) -> Any:
    """Largest absolute values, and shares of zeros in samples of at most 8,192 elements, (2, gradients)."""
    largest, zeros = [], []
    for gradient in gradients:
        values = ops.reshape(ops.cast(gradient, "float32"), (-1,))
        largest.append(ops.maximum(ops.max(values), -ops.min(values)))
        sample = values[:: max(1, int(values.shape[0]) // 4096)]
        zeros.append(ops.mean(ops.cast(ops.equal(sample, 0.0), "float32")))
    return ops.stack([ops.stack(largest), ops.stack(zeros)])


def dense(gradient: Any) -> Any:
    """A gradient as one tensor; TensorFlow gives those of embeddings as slices."""
    if keras.backend.backend() != "tensorflow" or not hasattr(gradient, "indices"):
        return gradient
    import tensorflow as tf

    return tf.convert_to_tensor(gradient)  # Keras' own function gives slices back as they are


def shaped(gradient: Any, variable: Any) -> Any:
    """A gradient with its variable's shape, which TensorFlow does not always know while it traces: not of a
    Dense behind a Permute.
    """
    shape = gradient.shape
    known = getattr(shape, "rank", 0) is not None and None not in tuple(shape)
    return gradient if known else ops.reshape(gradient, tuple(variable.shape))


def _square(gradient: Any) -> Any:
    values = ops.cast(gradient, "float32")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return 2 * tf.nn.l2_loss(values)  # in one pass
    return ops.sum(ops.square(values))


def _scaled(gradient: Any) -> Any:
    values = ops.cast(gradient, "float32")
    largest = ops.max(ops.abs(values))
    safe = ops.where(largest > 0, largest, ops.ones_like(largest))
    return safe * ops.sqrt(ops.sum(ops.square(values / safe)))
