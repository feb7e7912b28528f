"""A compiled model's step traced once as a graph, for what only a graph shows."""

from __future__ import annotations

from typing import Any

import keras

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.state import untouched
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.listening import Applied, Listening


def retrace(model: Any, batch: Any, listening: Listening) -> None:
    """On TensorFlow: nothing is run, and whoever listens hears it. Elsewhere nothing."""
    parts = keras.utils.unpack_x_y_sample_weight(tuple(batch))
    x, y, weight = (
        keras.tree.map_structure(
            lambda v: None if v is None else keras.ops.convert_to_tensor(v), part
        )
        for part in parts
    )

    def step() -> None:
        state = keras.StatelessScope(collect_losses=True)
        with untouched(model), state, native.tape() as tape:
            loss = compat.compute_loss(model, x, y, model(x, training=True), weight)
        moved = [v for v in model.trainable_variables if state.get_current_value(v) is not None]
        variables = [v for v in model.trainable_variables if all(v is not m for m in moved)]
        gradients = tape.gradient(loss, variables)
        with listening.given(Applied(model.optimizer, tuple(gradients), tuple(variables))):
            pass

    native.trace(step)
