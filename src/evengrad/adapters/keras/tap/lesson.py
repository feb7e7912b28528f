"""What a Keras model is to learn: from its loss function and its first batches."""

from __future__ import annotations

import logging
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from evengrad.adapters.keras.change.data import KNOWN, kind_of_loss, plain_mean
from evengrad.adapters.keras.tap.constant import Constant
from evengrad.recording.lesson import Lesson

log = logging.getLogger("evengrad")
TOLD = (1, 16, 64)
"""Batches after which the run file is told, for whoever reads it while the training goes on."""
_LOOKED_AT = 8
"""Batches whose inputs are looked at."""
_PREPARING = (
    "Rescaling",
    "Normalization",
    "Lambda",
    "Embedding",
    "TextVectorization",
    "Discretization",
)
_MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "auto")


class KerasLesson:
    """Of one model with its present loss; fed with some of its first batches, as they are kept anyway."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._lesson = Lesson()
        self._kind = kind_of_loss(model) if _is_plain(model) else "other"
        self._constant = Constant(model) if self._kind not in KNOWN and _is_plain(model) else None
        self._raw = not any(type(layer).__name__ in _PREPARING for layer in _layers(model))

    def take(self, data: Any) -> bool:
        """A batch. Returns whether the run is to be told now."""
        lesson = self._lesson
        if lesson.full:
            return False
        try:
            x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
            if lesson.passes < _LOOKED_AT:
                self._look(x)
            targets = [v for v in keras.tree.flatten(y) if v is not None]
            weighted = any(v is not None for v in keras.tree.flatten(weights))
            if len(targets) == 1:
                kind = "other" if weighted else self._kind
                values = np.asarray(ops.convert_to_numpy(targets[0]))
                lesson.targets(kind, values)
                if self._constant is not None and not weighted:
                    self._constant.take(values)
        except Exception as error:  # data of another kind, or of another process
            log.info("the constant baseline is not known: %s", error)
        lesson.backpropagated(1.0, (1.0,))
        return lesson.full or lesson.passes in TOLD

    def values(self) -> dict[str, Any]:
        """What was seen; "penalty" is what regularizers add to the loss now, "penalised" layers whose outputs
        have one, each with its words.
        """
        found = self._lesson.values()
        if penalised := _penalised(self._model):
            found |= {"penalised": penalised}
        if self._constant is not None and found.get("objective") == [self._kind]:
            found |= {"baseline": self._constant.loss, "baseline_loose": True}
        if self._kind == "other" or found.get("baseline") is None:
            return found
        try:
            return found | self._penalty()
        except Exception as error:  # a penalty that cannot be worked out here
            log.info("the penalties are not known: %s", error)
            return found | {"baseline": None}

    def _penalty(self) -> dict[str, Any]:
        own = [v for v in self._model.trainable_variables if getattr(v, "regularizer", None)]
        if len(self._model.losses) > len(own):  # of activations, or by add_loss
            return {"baseline": None}
        total = sum(float(ops.convert_to_numpy(v.regularizer(v))) for v in own)
        return {"penalty": total} if total else {}

    def _look(self, x: Any) -> None:
        """At the inputs, where the model takes them as they are."""
        flat = [v for v in keras.tree.flatten(x) if v is not None]
        if len(flat) != 1 or not self._raw:
            return
        values = np.asarray(ops.convert_to_numpy(flat[0])).astype(np.float64)
        finite = values[np.isfinite(values)]
        if finite.size:
            rms = math.sqrt(float(np.mean(finite**2)))
            self._lesson.given("the model", rms, float(np.abs(finite).max()))


def _is_plain(model: Any) -> bool:
    """Whether what is minimised is the mean of one loss function, beside penalties."""
    if getattr(model, "loss", None) is None or plain_mean(model) is None:
        return False
    loss = keras.tree.flatten(model.loss)[0]
    return not isinstance(loss, keras.losses.Loss) or is_mean(loss)


def is_mean(loss: Any) -> bool:
    """Whether a ``keras.losses.Loss`` gives the mean over the batch."""
    return loss.reduction in _MEANS


def _layers(model: Any) -> list[Any]:
    """With those of models inside."""
    own = list(getattr(model, "models", None) or getattr(model, "layers", None) or ())
    return [*own, *(inner for layer in own for inner in _layers(layer))]


def _penalised(model: Any) -> list[list[str]]:
    """Layers whose outputs are penalised, and by what."""
    found = []
    for layer in _layers(model):
        one = getattr(layer, "activity_regularizer", None)
        if one is not None and layer.trainable:
            settings = one.get_config() if hasattr(one, "get_config") else {}
            numbers = ", ".join(f"{k}={float(v):g}" for k, v in settings.items() if v)
            found.append([str(layer.name), f"{type(one).__name__}({numbers})"])
    return found
