"""The last batch that a model trained on, kept so that a bad step can be seen again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras.src.trainers.data_adapters import data_adapter_utils


class Batches:
    """By reference on JAX and PyTorch. On TensorFlow, where a batch lives inside a graph, by one copy into
    variables beside the compiled step; ``frozen`` says in the graph that the batch there is still wanted.
    """

    def __init__(self, model: Any, frozen: Callable[[], Any]) -> None:
        self._model = model
        self._frozen = frozen
        self._last: deque[Any] = deque(maxlen=max(1, model.steps_per_execution))
        self._stores: list[tuple[Any, list[Any]]] = []

    def note(self, data: Any) -> None:
        """Inside the step, on the backends that run it or trace it with its data at hand."""
        backend = keras.backend.backend()
        if backend == "torch":
            self._last.append(data)
        elif backend == "tensorflow" and not self._model.jit_compile:
            self._store(data)

    def last(self, age: int = 0) -> Any:
        """(x, y, sample_weight) of ``age`` batches ago; None where it is not known."""
        if keras.backend.backend() == "tensorflow":
            if not self._stores:
                return None
            structure, variables = self._stores[-1]
            data = keras.tree.pack_sequence_as(structure, [v.numpy() for v in variables])
        elif age < len(self._last):
            data = self._last[-1 - age]
        else:
            return None
        return data_adapter_utils.unpack_x_y_sample_weight(data)

    @contextmanager
    def making(self) -> Iterator[None]:
        """While Keras makes its train function."""
        if keras.backend.backend() != "tensorflow" or not self._model.jit_compile:
            yield
            return
        import tensorflow as tf

        original = tf.function

        def function(*args: Any, **kwargs: Any) -> Any:
            made = original(*args, **kwargs)
            if not kwargs.get("jit_compile"):
                return made

            def stored(data: Any) -> Any:  # XLA cannot change a variable's shape: outside of it
                self._store(data)
                return made(data)

            return tf.autograph.experimental.do_not_convert(stored)

        tf.function = function
        try:
            yield
        finally:
            tf.function = original

    def wrap(self, train_function: Any) -> Any:
        """On JAX: the train function, which takes its batches from an iterator."""
        if keras.backend.backend() != "jax":
            return train_function

        def noting(state: Any, iterator: Any) -> Any:
            return train_function(state, self._teed(iterator))

        return noting

    def _teed(self, iterator: Any) -> Iterator[Any]:
        for data in iterator:
            self._last.append(data)
            yield data

    def _store(self, data: Any) -> None:
        import tensorflow as tf

        leaves = keras.tree.flatten(data)
        if not all(isinstance(leaf, tf.Tensor) for leaf in leaves):
            return
        variables = self._variables(data, leaves)

        def keep() -> None:
            for variable, leaf in zip(variables, leaves, strict=True):
                variable.assign(leaf)

        tf.cond(self._frozen(), lambda: None, keep)

    def _variables(self, data: Any, leaves: list[Any]) -> list[Any]:
        import tensorflow as tf

        shapes = [tf.TensorShape([None, *leaf.shape[1:]]) for leaf in leaves]
        for _, variables in self._stores:
            same = len(variables) == len(leaves)
            if same and all(
                v.dtype == leaf.dtype and v.shape.is_compatible_with(shape)
                for v, leaf, shape in zip(variables, leaves, shapes, strict=True)
            ):
                return variables
        with tf.init_scope():
            variables = [
                tf.Variable(
                    tf.zeros([n or 0 for n in shape], leaf.dtype), trainable=False, shape=shape
                )
                for shape, leaf in zip(shapes, leaves, strict=True)
            ]
        empty = keras.tree.map_structure(lambda _: 0, data)
        self._stores.append((empty, variables))
        return variables
