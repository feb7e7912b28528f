"""The last training batch once more when the script is over: in training mode, and in evaluation mode."""

from __future__ import annotations

import logging
from typing import Any

import keras
from keras import ops

from evengrad.adapters.keras.backend.state import untouched
from evengrad.adapters.keras.change.data import plain_mean
from evengrad.adapters.keras.compat import layers_of
from evengrad.values.fact import Fact

log = logging.getLogger("evengrad")
_DROPOUTS = ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout")


def evaluated(model: Any, batch: Any, steps: int) -> Fact | None:
    """The losses of a batch in both modes, as a fact; nothing of the model changes. None where the modes do not
    differ, or the model or its loss cannot be asked once more.

    Args:
        model: compiled, with one loss function.
        batch: (x, y, sample_weight) of one of its last steps.
        steps: that were made.
    """
    norms = [
        layer for layer in layers_of(model) if isinstance(layer, keras.layers.BatchNormalization)
    ]
    dropouts = any(type(layer).__name__ in _DROPOUTS for layer in layers_of(model))
    mean = plain_mean(model)
    trained = [layer for layer in norms if layer.trainable]
    if mean is None or batch is None or batch[2] is not None or not (trained or dropouts):
        return None
    x, y = (keras.tree.map_structure(ops.convert_to_tensor, part) for part in batch[:2])
    found = []
    try:
        for training in (True, False):
            with untouched(model), keras.StatelessScope():
                found.append(float(ops.convert_to_numpy(mean(y, model(x, training=training)))))
    except Exception as error:  # a model or a batch that is not what it was
        log.info("the last batch could not be evaluated: %s", error)
        return None
    momenta = [float(layer.momentum) for layer in trained]
    values = {
        "training": found[0],
        "evaluation": found[1],
        "steps": steps,
        "layers": [layer.name for layer in trained],
        "kind": "BatchNormalization" if trained else "Dropout",
        "momentum": max(momenta) if momenta else None,
    }
    return Fact("evaluation_apart", None, None, values)
