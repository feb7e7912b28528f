"""Weights that were made trainable behind ``compile``: the compiled step does not know of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from evengrad.adapters.common.source import where
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.adapters.keras.trace.weights import trainables
from evengrad.values.fact import Fact


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
    sizes = [int(np.prod(v.shape)) for v, _ in loose]
    whole = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    values = {
        "optimizer": type(optimizer).__name__,
        "how": "compiled",
        "none": False,
        "share": sum(sizes) / whole,
        "layers": list(dict.fromkeys(layer.name for _, layer in loose)),
        "tensors": len(loose),
        "weights": sum(sizes),
        "replaced": "",
        "replaced_at": "",
    }
    return Fact("weights_unheld", where(), None, values)
