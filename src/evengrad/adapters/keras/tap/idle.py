"""Models that are trained although nothing in them is trainable."""

from __future__ import annotations

from typing import Any

import keras

from evengrad.adapters.common.source import where
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import array
from evengrad.adapters.keras.backend.state import is_built, untouched
from evengrad.adapters.keras.change.data import kind_of_loss
from evengrad.adapters.keras.facts.unheld import unheld_fact
from evengrad.adapters.keras.measure.update import describe
from evengrad.adapters.keras.spec.specify import versions
from evengrad.adapters.keras.tap.holders import shown
from evengrad.values.fact import Fact
from evengrad.values.probe import Loss, Probe


def idle(model: Any) -> Fact | None:
    """Of a compiled model that is about to be trained; None where it has weights to train, or none at all."""
    if not is_built(model) or model.trainable_variables or not model.weights:
        return None
    frozen = [layer for layer in compat.layers_of(model) if layer.weights and not layer.trainable]
    shapes = [v.shape for v in model.weights]
    names = [layer.name for layer in frozen if layer is not model]
    return unheld_fact(model.optimizer, "frozen", where(), shapes, names, model=shown(model))


def idle_probe(model: Any, fact: Fact, batch: Any) -> Probe:
    """What there is to say of its first step: the loss, and that fact."""
    parts = keras.utils.unpack_x_y_sample_weight(tuple(batch))
    x, y, weight = (keras.tree.map_structure(_tensor, part) for part in parts)
    with untouched(model), keras.StatelessScope():
        value = compat.compute_loss(model, x, y, model(x, training=True), weight)
    return Probe(
        frontend="keras",
        backend=keras.backend.backend(),
        versions=versions(),
        model=str(fact.values["model"]),
        batch_size=int(keras.tree.flatten(x)[0].shape[0]),
        inputs=(),
        outputs=(),
        operations=(),
        weights=(),
        loss=Loss(kind_of_loss(model), float(array(value))),
        optimizer=describe(model.optimizer),
        facts=(fact,),
    )


def _tensor(value: Any) -> Any:
    return None if value is None else keras.ops.convert_to_tensor(value)
