"""Keeps the batches of the last steps, so that one that was held back can be looked into."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

_FROM = 10
_FIRST = 4
"""So many first batches are handed over by a TensorFlow graph, for what they tell of the training."""


def sampled(step: int, every: int) -> bool:
    """Whether activations are sampled at this step."""
    return step >= _FROM and step % every == 0


class Batches:
    """By step. Where the host sees each batch (JAX, PyTorch) a reference to the last ones is kept; inside a
    TensorFlow graph only those that the graph hands over. told: called with each that is kept.
    """

    def __init__(self, depth: int, told: Callable[[Any], None] | None = None) -> None:
        self._depth = depth
        self._told = told
        self._kept: OrderedDict[int, Any] = OrderedDict()

    def keep(self, step: int, data: Any) -> None:
        """The batch of a step."""
        self._kept[step] = data
        while len(self._kept) > self._depth:
            self._kept.popitem(last=False)
        if self._told is not None:
            self._told(data)

    def of(self, step: int) -> tuple[Any, Any, Any] | None:
        """(x, y, sample_weight) as NumPy arrays."""
        data = self._kept.get(step)
        if data is None:
            return None
        unpacked = keras.utils.unpack_x_y_sample_weight(data)
        return tuple(keras.tree.map_structure(_plain, part) for part in unpacked)

    def latest(self) -> tuple[Any, Any, Any] | None:
        """The last one that is kept, in the same shape."""
        return self.of(next(reversed(self._kept))) if self._kept else None

    def forget(self) -> None:
        """All of them."""
        self._kept.clear()

    def passing(self, iterator: Any, first: int) -> Iterator[Any]:
        """The same batches, kept as they pass; the first is that step's."""
        for number, data in enumerate(iterator):
            self.keep(first + number, data)
            yield data


def in_graph(batches: Batches, status: Any, every: int) -> Callable[..., Any]:
    """Instead of ``compat.STEP_WRAPPER`` of a TensorFlow model: outside of what is compiled by XLA, the
    batches of the first steps, of those that are sampled, and of one that was refused since the host last
    looked are handed over.
    """
    import tensorflow as tf

    def convert(original: Any) -> Any:
        return lambda step_function: handing_over(original(step_function))

    def handing_over(step: Any) -> Any:
        def call(data: Any) -> Any:
            result = step(data)
            if tf.executing_eagerly():
                batches.keep(int(status.numpy()[0]) - 1, data)
                return result
            leaves = keras.tree.flatten(data)
            tensors = [v for v in leaves if isinstance(v, tf.Tensor)]
            here = {id(v): i for i, v in enumerate(tensors)}

            def keep(now: Any, *values: Any) -> None:
                plain = [values[here[id(v)]] if id(v) in here else None for v in leaves]
                batches.keep(int(now[0]) - 1, keras.tree.pack_sequence_as(data, plain))

            def hand_over() -> Any:
                tf.py_function(keep, [now, *tensors], [])
                return tf.constant(0)

            now = tf.identity(status.value)
            begun = now[0] - 1
            wanted = (now[1] > now[3]) | (begun < _FIRST)
            wanted = wanted | (begun >= _FROM) & tf.equal(tf.math.mod(begun, float(every)), 0)
            tf.cond(wanted, hand_over, lambda: tf.constant(0))
            return result

        return call

    return convert


def _plain(value: Any) -> Any:
    if value is None or type(value).__name__ == "Optional":
        return None
    return np.array(ops.convert_to_numpy(value))
