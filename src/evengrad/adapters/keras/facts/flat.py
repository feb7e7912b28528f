"""The step function in a model or its loss that leaves no slope to train by."""

from __future__ import annotations

from typing import Any

import keras

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.state import untouched
from evengrad.adapters.keras.facts.calls import StepHeard, hearing_losses
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.values.fact import Fact


def flat(model: Any, batch: Any, none: bool) -> Fact | None:
    """Of a compiled model whose every gradient is zero or None on that batch: the last step function on the way
    to the loss, if there is one.

    none: whether the gradients are None.
    """
    heard: list[StepHeard] = []
    parts = keras.utils.unpack_x_y_sample_weight(tuple(batch))
    x, y, weight = (keras.tree.map_structure(_tensor, part) for part in parts)
    with (
        untouched(model),
        keras.StatelessScope(),
        hearing_losses(lambda _: None, stepped=heard.append),
    ):
        compat.compute_loss(model, x, y, model(x, training=True), weight)
    own = [step for step in heard if step.where is not None]
    return flat_fact(own[-1], model.name, model.optimizer, none) if own else None


def flat_fact(step: StepHeard, model: str, optimizer: Any, none: bool) -> Fact:
    """For the rule of weights that no gradient reaches."""
    values = {
        "model": model,
        "optimizer": type(unscaled(optimizer)).__name__,
        "none": none,
        "kind": step.function,
        "flat": True,
        "cut": str(step.where or ""),
        "steps": 1,
        "backward": "",
    }
    return Fact("weights_unreached", step.where, 0, values)


def _tensor(value: Any) -> Any:
    return None if value is None else keras.ops.convert_to_tensor(value)
