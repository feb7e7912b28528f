"""The first batch of a training and its targets, without taking anything from it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from types import GeneratorType
from typing import Any

import keras
import numpy as np
from keras import ops

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import isolated
from evengrad.adapters.keras.trace.kinds import snake

_LOSSES = {
    "sparse_categorical_crossentropy": "crossentropy",
    "categorical_crossentropy": "crossentropy",
    "binary_crossentropy": "binary_crossentropy",
    "mean_squared_error": "mse",
    "mean_absolute_error": "mae",
}
KNOWN = frozenset(_LOSSES.values())
"""The kinds of which a session knows what the best constant answer loses."""
_FEW = 8
"""Batches of a dataset whose targets are looked at."""


def kind_of_loss(model: Any) -> str:
    """By the name that a session knows it by; "other" where classes are smoothed or ignored."""
    loss = _single_loss(model)
    return "other" if loss is None else kind_of(loss)


def kind_of(loss: Any) -> str:
    """Of one loss function or ``keras.losses.Loss``."""
    settings = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    if settings.get("label_smoothing") or settings.get("ignore_class") is not None:
        return "other"
    function = getattr(loss, "fn", loss)
    word = snake(str(getattr(function, "__name__", type(function).__name__)))
    return _LOSSES.get(word, word)


def plain_mean(model: Any) -> Callable[[Any, Any], Any] | None:
    """The mean of the model's only loss function over a batch, given targets and predictions: without weights,
    without penalties and whatever its reduction. None where there are several or none, and where the model
    has a ``train_step`` of its own, which may add to it.
    """
    loss = _single_loss(model)
    if loss is None or type(model).train_step is not keras.Model.train_step:
        return None
    function = loss.call if isinstance(loss, keras.losses.Loss) else loss

    def mean(targets: Any, predictions: Any) -> Any:
        (target,), (prediction,) = keras.tree.flatten(targets), keras.tree.flatten(predictions)
        if len(target.shape) + 1 == len(prediction.shape) and prediction.shape[-1] == 1:
            target = ops.expand_dims(target, -1)  # as compile() lets losses have them
        found = ops.mean(function(target, ops.cast(prediction, "float32")))
        return ops.stop_gradient(ops.cast(found, "float32"))

    return mean


def _single_loss(model: Any) -> Any:
    losses = keras.tree.flatten(model.loss)
    if len(losses) != 1:
        return None
    return keras.losses.get(losses[0]) if isinstance(losses[0], str) else losses[0]


def looked_at(given: dict[str, Any]) -> tuple[Any, Any]:
    """The first batch that ``fit`` would train on, or one like it, and targets: of all arrays, or of a few
    batches; None where they cannot be had. What is taken from a generator is put back.
    """
    x = given["x"]
    if isinstance(x, GeneratorType):
        found = list(islice(x, _FEW))
        given["x"] = (batch for batch in chain(found, x))
        return _of_batches(found)
    try:
        with _kept_random():
            if compat.are_arrays((x, given["y"], given["sample_weight"])):
                return _of_arrays(given)
            return _of_batches(_first(x))
    except Exception:  # of the script's own data: ``fit`` will meet it, too
        return None, None


def _first(data: Any) -> list[Any]:
    if isinstance(data, keras.utils.PyDataset):
        return [data[i] for i in range(min(_FEW, data.num_batches or _FEW))]
    return list(islice(data, _FEW))


def _of_batches(found: list[Any]) -> tuple[Any, Any]:
    if not found:
        return None, None
    batches = [
        keras.utils.unpack_x_y_sample_weight(keras.tree.map_structure(_array, tuple(batch)))
        for batch in found
    ]
    targets = [b[1] for b in batches]
    single = all(hasattr(y, "shape") and len(y.shape) for y in targets)
    return batches[0], np.concatenate(targets) if single else None


def _array(value: Any) -> Any:
    return value if value is None else keras.ops.convert_to_numpy(value)


def _of_arrays(given: dict[str, Any]) -> tuple[Any, Any]:
    for batch, (_, y, _) in compat.fit_batches(given):
        return batch, y
    return None, None


@contextmanager
def _kept_random() -> Iterator[None]:
    """The script goes on with the random numbers that it would have had."""
    python, numpy = random.getstate(), np.random.get_state()
    with isolated():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
