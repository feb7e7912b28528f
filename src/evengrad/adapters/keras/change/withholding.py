"""Examples that a trial keeps out of the loss, to be judged by: known again by what is in them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from evengrad.adapters.keras import compat

log = logging.getLogger("evengrad")

_FEWEST = 8
"""Examples of a batch from which some are withheld."""


class KerasWithholding:
    """Withholds one example in ``every`` from a model's loss while it trains."""

    def __init__(self, model: Any, every: int) -> None:
        self._model, self._every = model, every
        self._held = _Held(name="evengrad_held_back")

    def put_on(self) -> None:
        """In the place of ``compute_loss``, and among the metrics, whose state each backend carries along."""
        compat.own_metrics(self._model).append(self._held)
        self._own = self._model.__dict__.get("compute_loss")
        self._model.__dict__["compute_loss"] = self._withheld(self._model.compute_loss)

    def take_off(self) -> None:
        """The model as it was, but for a training function that is compiled."""
        del self._model.__dict__["compute_loss"]
        if self._own is not None:  # a change made before
            self._model.__dict__["compute_loss"] = self._own
        compat.own_metrics(self._model).remove(self._held)

    def read(self) -> tuple[float, int]:
        """Mean loss of the examples withheld in the last step, and how many they were."""
        value: Any = self._held.last
        state = compat.jax_state(self._model)
        if state is not None:  # in ``fit`` on JAX
            own = [id(v) for v in self._model.metrics_variables]
            if id(value) in own:
                value = state["metrics_variables"][own.index(id(value))]
        loss, examples = np.asarray(ops.convert_to_numpy(value)).tolist()
        return loss, int(examples)

    def _withheld(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def compute_loss(
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            *args: Any,
            **kwargs: Any,
        ) -> Any:
            training = args[0] if args else kwargs.get("training", True)
            given = y, y_pred, sample_weight
            try:
                split = self._split(x, given) if training else None
            except Exception as error:  # data that cannot be taken apart by rows
                log.info("no examples are withheld: %s", error)
                split = None
            if split is None:
                return original(x, *given, *args, **kwargs)
            kept, apart, examples = split
            loss = ops.cast(original(x, *apart, *args, **kwargs), "float32")
            loss = ops.stop_gradient(loss)
            self._held.last.assign(ops.stack([loss, ops.cast(examples, "float32")]))
            return original(x, *kept, *args, **kwargs)

        return compute_loss

    def _split(self, x: Any, given: Any) -> tuple[Any, Any, Any] | None:
        """Targets, predictions and weights of the examples that are kept, then of those withheld, each row
        repeated until there are as many as before, since shapes must stay; and how many are withheld.
        """
        rows = _rows(x)
        targets = [v for v in keras.tree.flatten(given[0]) if v is not None]
        if rows is None or not targets:
            return None
        count = ops.shape(rows)[0]
        if isinstance(count, int) and count < _FEWEST:
            return None
        part = _hash(rows)
        held = (part >= 0.5) & (part < 0.5 + 1.0 / self._every)
        for target in targets:
            flat = _rows(target)
            held = held if flat is None else held & ops.all(ops.isfinite(flat), axis=1)
        examples = ops.sum(ops.cast(held, "int32"))
        some = (examples > 0) & (examples < count) & (count >= _FEWEST)
        examples = ops.where(some, examples, 0)
        order = ops.argsort(ops.cast(held, "int32") * count + ops.arange(count))
        every = ops.arange(count)
        kept = ops.take(order, ops.mod(every, ops.maximum(count - examples, 1)))
        apart = ops.take(order, count - 1 - ops.mod(every, ops.maximum(examples, 1)))
        return _taken(given, ops.where(some, kept, every)), _taken(given, apart), examples


class _Held(keras.metrics.Metric):
    """Carries the last figures through a compiled step; shows nothing in the logs."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.last = self.add_variable((2,), "zeros", "float32", name="last")

    def update_state(self, *_: Any, **__: Any) -> None:
        """Set from outside."""

    def reset_state(self) -> None:
        """Each step overwrites it."""

    def result(self) -> dict[str, Any]:
        """Nothing."""
        return {}


def _rows(values: Any) -> Any:
    """The first tensor as (examples, elements) of float32; None where its shape is not known."""
    flat = [v for v in keras.tree.flatten(values) if v is not None]
    if not flat or not hasattr(flat[0], "shape") or not len(flat[0].shape):
        return None
    if any(size is None for size in flat[0].shape[1:]):
        return None
    size = int(np.prod(flat[0].shape[1:]))
    return ops.reshape(ops.cast(flat[0], "float32"), (-1, size))


def _hash(rows: Any) -> Any:
    """A number in [0, 1) for each row, whatever its scale; NaN where the row is not finite."""
    weights = np.random.RandomState(0).standard_normal(rows.shape[1]).astype("float32")
    size = ops.mean(ops.absolute(rows), axis=1)
    return ops.mod(ops.sum(rows * weights, axis=1) / (size + 1e-30) * 61.8, 1.0)


def _taken(given: Any, rows: Any) -> Any:
    return keras.tree.map_structure(
        lambda v: None if v is None else ops.take(v, rows, axis=0), given
    )
