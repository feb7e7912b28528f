"""Normalisations over one value, which leave nothing of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from evengrad.values.fact import Fact, Where

KIND = "normalised_alone"


def is_alone(layer: Any, inputs: Any, training: bool) -> bool:
    """Whether a layer takes mean and variance of one value: a BatchNormalization in training of a batch of one
    without space or time, a LayerNormalization over an axis of one.
    """
    shape = getattr(inputs, "shape", None)
    if shape is None or any(n is None for n in shape):
        return False
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    own = {int(axis) % len(shape) for axis in axes}
    if isinstance(layer, keras.layers.BatchNormalization):
        if not (training and layer.trainable):
            return False
        own = set(range(len(shape))) - own
    return math.prod(int(shape[axis]) for axis in own) == 1


def alone_fact(layers: Sequence[Any], place: Where | None) -> Fact:
    """For the rule."""
    unique = list({id(layer): layer for layer in layers}.values())
    values = {
        "layers": [layer.name for layer in unique],
        "kind": type(unique[0]).__name__,
    }
    return Fact(KIND, place, 0, values)
