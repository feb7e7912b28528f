"""Everything that a probe might touch, kept before and put back after."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import isolated


@contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Random states, Keras' name counters and each layer's own attributes are what they were.

    (Variables are never assigned: all runs are in a ``keras.StatelessScope``.)
    """
    layers = compat.layers_of(model)
    kept = [
        (layer, {k: layer.__dict__[k] for k in compat.LAYER_FLAGS if k in layer.__dict__})
        for layer in layers
    ]
    python, numpy = random.getstate(), np.random.get_state()
    names = compat.name_counters()
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


def is_built(model: Any) -> bool:
    """With every layer in it."""
    return all(layer.built for layer in compat.layers_of(model))


@contextmanager
def without_penalties() -> Iterator[None]:
    """``model.losses`` is empty, so that ``compute_loss`` is the data's loss alone."""
    with Patches() as patches:
        patches.put(keras.layers.Layer, "losses", property(lambda _: []))
        yield
