"""The last training batch once more when the script is over: does a sample's answer depend on the others?"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import keras
import numpy as np
from keras import ops

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras.backend.state import untouched
from evengrad.adapters.keras.change.data import plain_mean
from evengrad.values.fact import Fact

log = logging.getLogger("evengrad")
_ROWS = 4
_SHARE = 0.5  # of the samples whose answer changes
_CHANGE = 1e-3  # of the answers' spread, far above rounding


def mixed(model: Any, batch: Any) -> Fact | None:
    """Where the answers to samples that were kept change with the other samples, and the layer behind which;
    nothing of the model changes. None where each sample is answered by itself, or where that is not known.

    Args:
        model: compiled, with one loss function.
        batch: (x, y, sample_weight) of one of its last steps.
    """
    if batch is None or batch[2] is not None or not _of_samples(*batch[:2]):
        return None
    try:
        return _found(model, *batch[:2])
    except Exception as error:  # a model or a batch that is not what it was
        log.info("whether the samples are mixed is not known: %s", error)
        return None


def _of_samples(x: Any, y: Any) -> bool:
    """Whether there is one array of samples of more than features, and one target for each."""
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray) or not y.ndim:
        return False
    if len(x) < _ROWS or x.ndim < 2 or (x.ndim == 2 and x.dtype.kind == "f"):
        return False
    plain = y.size == len(y) or (y.ndim == 2 and y.shape[1] != x.shape[1])
    return bool(plain and len(x) == len(y) and 1 < x.shape[1] != len(x))


def _found(model: Any, x: Any, y: Any) -> Fact | None:
    rows = len(x)
    every = np.arange(rows)
    neighbours = (every - every % 2 + 1).clip(
        max=rows - 1
    )  # each even one is its odd neighbour's copy
    kept = every[1::2]
    before, plain = _pass(model, x)
    after, other = _pass(model, x[neighbours])
    again, _ = _pass(model, x)
    if len(before) != rows or not _changes(before, after, kept) or _changes(before, again, every):
        return None
    order = np.random.default_rng(0).permutation(rows)
    turned, _ = _pass(model, x[order])
    if not _changes(before[order], turned, every):
        return None  # each is set beside all others alike, as a batch statistic does
    culprit = _culprit(plain, other, kept)
    mean = plain_mean(model)
    loss = mean(*map(ops.convert_to_tensor, (y, before))) if mean is not None else np.nan
    values = {
        "module": "" if culprit is None else str(culprit.name),
        "kind": "" if culprit is None else type(culprit).__name__,
        "known": False,
        "loss": float(ops.convert_to_numpy(loss)),
        "shape": list(x.shape),
    }
    return Fact("samples_mixed", None, None, values)


def _pass(model: Any, x: Any) -> tuple[Any, list[tuple[Any, Any, Any]]]:
    """The answers in evaluation mode, and what each layer took and gave, innermost first."""
    with untouched(model), keras.StatelessScope(), _seeing(model) as seen:
        output = model(ops.convert_to_tensor(x), training=False)
    first = keras.tree.flatten(output)[0]
    return np.asarray(ops.convert_to_numpy(first), np.float64), seen


@contextmanager
def _seeing(model: Any) -> Iterator[list[tuple[Any, Any, Any]]]:
    seen: list[tuple[Any, Any, Any]] = []

    def calling(original: Any) -> Any:
        @wraps(original)
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            found = original(layer, *args, **kwargs)
            taken = keras.tree.flatten(args)
            if layer is not model and taken:
                pair = (taken[0], keras.tree.flatten(found)[0])
                arrays = [np.asarray(ops.convert_to_numpy(t), np.float64) for t in pair]
                seen.append((layer, *arrays))
            return found

        return call

    with Patches() as patches:
        patches.wrap(keras.layers.Layer, "__call__", calling)
        yield seen


def _culprit(plain: Any, other: Any, kept: Any) -> Any:
    """The first layer whose inputs of the kept samples are what they were, and whose outputs are not."""
    for (layer, taken, given), (_, taken_then, given_then) in zip(plain, other, strict=False):
        if taken.shape != taken_then.shape or given.shape != given_then.shape:
            continue
        if min(len(taken), len(given)) <= kept.max():
            continue
        if not _changes(taken, taken_then, kept) and _changes(given, given_then, kept):
            return layer
    return None


def _changes(before: Any, after: Any, rows: Any) -> bool:
    """Whether most of these rows are clearly not what they were."""
    if before.shape != after.shape:
        return False
    old, new = (side[rows].reshape(len(rows), -1) for side in (before, after))
    bound = _CHANGE * float(old.std()) + 1e-12
    return float((np.abs(old - new).max(1) > bound).mean()) >= _SHARE
