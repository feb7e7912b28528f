"""Examples that a trial keeps out of the loss, to be judged by: known again by what is in them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.change.data import plain_mean

log = logging.getLogger("evengrad")

_FEWEST = 8
"""Examples of a batch from which some are withheld."""


@dataclass(frozen=True, slots=True)
class StepLosses:
    """Of one step. held_out: the mean loss of so many withheld examples. total: what was backpropagated. own:
    the loss function's plain mean over the same examples; NaN where it is not known.
    """

    held_out: float
    examples: int
    total: float
    own: float


class KerasWithholding:
    """Withholds one example in ``every`` from a model's loss while it trains."""

    def __init__(self, model: Any, every: int) -> None:
        self._model, self._every = model, every
        self._figures = _StepFigures(name="evengrad_held_out")
        self._mean = plain_mean(model)

    def put_on(self) -> None:
        """Instead of ``compute_loss``, and among the metrics, whose state each backend carries along."""
        compat.own_metrics(self._model).append(self._figures)
        self._own = self._model.__dict__.get("compute_loss")
        self._model.__dict__["compute_loss"] = self._withheld(self._model.compute_loss)

    def take_off(self) -> None:
        """The model as it was, but for a training function that is compiled."""
        del self._model.__dict__["compute_loss"]
        if self._own is not None:  # a change made before
            self._model.__dict__["compute_loss"] = self._own
        compat.own_metrics(self._model).remove(self._figures)

    def read(self) -> StepLosses:
        """Of the last step."""
        value: Any = self._figures.last
        state = compat.jax_state(self._model)
        if state is not None:  # in ``fit`` on JAX
            own = [id(v) for v in self._model.metrics_variables]
            if id(value) in own:
                value = state["metrics_variables"][own.index(id(value))]
        held_out, examples, total, own = np.asarray(ops.convert_to_numpy(value)).tolist()
        return StepLosses(held_out, int(examples), total, own)

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
            if not training:
                return original(x, *given, *args, **kwargs)
            kept, apart, examples = split or (given, None, 0)
            loss = 0.0 if apart is None else original(x, *apart, *args, **kwargs)
            total = original(x, *kept, *args, **kwargs)
            figures = [loss, examples, total, self._own_mean(*kept[:2])]
            self._figures.last.assign(
                ops.stop_gradient(ops.stack([ops.cast(v, "float32") for v in figures]))
            )
            return total

        return compute_loss

    def _own_mean(self, y: Any, y_pred: Any) -> Any:
        try:
            return math.nan if self._mean is None else self._mean(y, y_pred)
        except Exception as error:  # targets that the loss takes in some other way
            log.info("the loss function's own mean is not known: %s", error)
            return math.nan

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


class _StepFigures(keras.metrics.Metric):
    """Carries the last figures through a compiled step; shows nothing in the logs."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.last = self.add_variable((4,), "zeros", "float32", name="last")

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
    seen = ops.sum(rows * ops.convert_to_tensor(weights), axis=1)
    return ops.mod(seen / (size + 1e-30) * 61.8, 1.0)


def _taken(given: Any, rows: Any) -> Any:
    return keras.tree.map_structure(
        lambda v: None if v is None else ops.take(v, rows, axis=0), given
    )
