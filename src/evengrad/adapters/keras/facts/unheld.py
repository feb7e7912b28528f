"""Weights that no optimizer moves: those that were made trainable behind ``compile``, and others' facts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from evengrad.adapters.common.source import where
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.adapters.keras.trace.weights import trainables
from evengrad.values.fact import Fact, Where


def unheld(model: Any) -> Fact | None:
    """Of a compiled model that is about to be trained again; None where its step has all of its weights."""
    optimizer = unscaled(model.optimizer)
    held = {id(v) for v in compat.trained_by(optimizer)}
    if not held or model.train_function is None:
        return None
    wanted = {id(v) for v in model.trainable_variables} - held
    loose = [(v, layer) for v, layer in trainables(model) if id(v) in wanted]
    if not loose:
        return None
    left = (v.shape for v, _ in loose)
    names = [layer.name for _, layer in loose]
    whole = size_of(v.shape for v in model.trainable_variables)
    return unheld_fact(optimizer, "compiled", where(), left, names, whole=whole)


def unheld_fact(
    optimizer: Any,
    how: str,
    place: Where | None,
    shapes: Iterable[Sequence[int]],
    layers: Iterable[str],
    *,
    whole: int = 0,
    step: int | None = None,
    **more: Any,
) -> Fact:
    """That weights are in nobody's hands.

    Args:
        optimizer: that ought to move them.
        how: "compiled", "untracked", "frozen", "dropped", "left" or "twice".
        place: the user's line.
        shapes: of the weights.
        layers: that have them, by name.
        whole: of how many weights they are a part; 0 where they are all.
        step: at which it was seen.
        more: values of that kind alone.
    """
    known = list(shapes)
    weights = size_of(known)
    values = {
        "optimizer": type(unscaled(optimizer)).__name__,
        "how": how,
        "none": not whole,
        "share": weights / whole if whole else 1.0,
        "layers": list(dict.fromkeys(layers)),
        "tensors": len(known),
        "weights": weights,
        "replaced": "",
        "replaced_at": "",
    }
    return Fact("weights_unheld", place, step, values | more)


def size_of(shapes: Iterable[Sequence[int]]) -> int:
    """How many numbers tensors of these shapes have."""
    return sum(math.prod(int(n) for n in shape) for shape in shapes)
