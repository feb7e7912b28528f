"""A sample of every activation's output: a few samples of an observed step's batch, seen once more."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from evengrad.adapters.common.activity import POSITIONS, Activity
from evengrad.adapters.keras.backend.state import untouched
from evengrad.adapters.keras.trace.replay import Replay
from evengrad.adapters.keras.trace.trace import trace
from evengrad.values.run import Floats
from evengrad.values.spec import Kind

_FEW = 8  # samples of images, sequences and the like, which have many places each


class Sampler:
    """Runs a model forward as in training, with the weights that it has, and assigns nothing."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._activity = Activity()
        self._replay: Replay | None = None
        self._shapes: Any = None

    def figures(self, x: Any) -> tuple[tuple[str, ...], Floats]:
        """The names of the activations, and their figures (names, LAYER_FIGURES). x: inputs of a step."""
        rank = max(len(v.shape) for v in keras.tree.flatten(x))
        count = POSITIONS if rank <= 2 else _FEW
        few = keras.tree.map_structure(lambda v: ops.convert_to_tensor(v[:count]), x)
        shapes = [tuple(v.shape) for v in keras.tree.flatten(few)]
        ours = list(self._model.trainable_variables)
        own = {id(v) for v in ours}
        others = [v for v in self._model.variables if id(v) not in own]
        with untouched(self._model):
            if self._replay is None:
                self._shapes = shapes
                self._replay = Replay(trace(self._model, few), (ours, others), _nothing)
            if shapes != self._shapes:  # a last batch that is smaller
                return (), np.zeros((0, 3))
            values = [v.value for v in ours], [v.value for v in others]
            _, kept = self._replay.run(_as_it_is, *values, (few, None, None))
        rows: dict[str, tuple[float, float, float]] = {}
        for step in self._replay.steps:
            if step.kind is Kind.ACTIVATION and len(step.makes) == 1:
                name = step.name if step.layer in rows else step.layer
                sample = _positions(ops.convert_to_numpy(kept[str(step.makes[0])]))
                rows[name] = self._activity.figures(name, step.type, sample)
        return tuple(rows), np.array(list(rows.values())).reshape(-1, 3)


def _as_it_is(_key: str, value: Any, _shared: bool = False) -> Any:
    return value


def _nothing(_outputs: Any, _data: Any) -> Any:
    return ops.zeros(())


def _positions(values: Any) -> Floats:
    """At most 128 positions at equal distances, each with all its units: (positions, units)."""
    if values.ndim > 2 and keras.config.image_data_format() == "channels_first":
        values = np.moveaxis(values, 1, -1)
    flat = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(-1, 1)
    index = np.arange(min(len(flat), POSITIONS)) * len(flat) // min(len(flat), POSITIONS)
    return np.asarray(flat[index], dtype=np.float64)
