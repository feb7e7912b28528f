"""Everything that a probe might touch, kept before and put back after."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from keras.src.backend.common import global_state
from keras.src.layers.layer import Layer

from evengrad.adapters.keras.backend.differentiate import isolated

_NAMES = "object_name_uids"


@contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Random states, Keras' name counters and each layer's own attributes are what they were.

    (Variables are never assigned: all runs are in a ``keras.StatelessScope``.)
    """
    layers = list(model._flatten_layers())
    kept = [
        (layer, {k: layer.__dict__[k] for k in _FLAGS if k in layer.__dict__}) for layer in layers
    ]
    python, numpy = random.getstate(), np.random.get_state()
    names = global_state.get_global_attribute(_NAMES)
    counters = None if names is None else dict(names)
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(isolated())
        try:
            yield
        finally:
            for layer, attributes in kept:
                layer.__dict__.update(attributes)
            random.setstate(python)
            np.random.set_state(numpy)
            if names is not None and counters is not None:
                names.clear()
                names.update(counters)


_FLAGS = ("_called", "built", "_compile_loss", "training")


@contextmanager
def without_penalties() -> Iterator[None]:
    """``model.losses`` is empty, so that ``compute_loss`` is the data's loss alone."""
    original = Layer.losses
    Layer.losses = property(lambda _: [])
    try:
        yield
    finally:
        Layer.losses = original
