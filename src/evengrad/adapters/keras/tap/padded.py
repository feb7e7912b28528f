"""The last training batch once more when the script is over: is it padding that an LSTM's last step reads?"""

from __future__ import annotations

import logging
from functools import wraps
from typing import Any

import keras
import numpy as np
from keras import ops

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras.backend.state import untouched
from evengrad.adapters.keras.change.data import plain_mean
from evengrad.adapters.keras.compat import layers_of, mask_of
from evengrad.values.fact import Fact

log = logging.getLogger("evengrad")
_STEPS = 4
"""Equal steps at a sequence's end from which they are padding."""
_MOST = 0.5  # of the sequences


def padded(model: Any, batch: Any) -> Fact | None:
    """The recurrent layer whose last step alone is used, behind a long padding that nothing masks; nothing of
    the model changes. None where there is none.

    Args:
        model: compiled, with one loss function.
        batch: (x, y, sample_weight) of one of its last steps.
    """
    if batch is None or batch[2] is not None or plain_mean(model) is None:
        return None
    if not any(isinstance(layer, keras.layers.RNN) for layer in layers_of(model)):
        return None
    try:
        return _found(model, *batch[:2])
    except Exception as error:  # a model or a batch that is not what it was
        log.info("whether padding is read is not known: %s", error)
        return None


def _found(model: Any, x: Any, y: Any) -> Fact | None:
    seen: list[tuple[Any, Any, bool]] = []

    def calling(original: Any) -> Any:
        @wraps(original)
        def call(layer: Any, sequences: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(layer, keras.layers.RNN):
                masked = kwargs.get("mask") is not None or mask_of(sequences) is not None
                seen.append((layer, np.asarray(ops.convert_to_numpy(sequences)), masked))
            return original(layer, sequences, *args, **kwargs)

        return call

    with untouched(model), keras.StatelessScope(), Patches() as patches:
        patches.wrap(keras.layers.Layer, "__call__", calling)
        output = model(keras.tree.map_structure(ops.convert_to_tensor, x), training=False)
    if not seen or any(masked or layer.go_backwards for layer, _, masked in seen):
        return None
    lengths, last = _padding(seen[0][1]), seen[-1][0]
    inner = [layer for layer, _, _ in seen[:-1]]
    if last.return_sequences or not all(layer.return_sequences for layer in inner):
        return None
    if float((lengths >= _STEPS).mean()) < _MOST:
        return None
    mean: Any = plain_mean(model)
    loss = mean(keras.tree.map_structure(ops.convert_to_tensor, y), output)
    values = {
        "module": str(last.name),
        "kind": type(last).__name__,
        "steps": int(seen[0][1].shape[1]),
        "padding": float(lengths.mean()),
        "loss": float(ops.convert_to_numpy(loss)),
    }
    return Fact("padding_read", None, None, values)


def _padding(values: Any) -> Any:
    """How many steps at the end of each sequence are equal to its last one, where there are several."""
    same = (values == values[:, -1:]).reshape(*values.shape[:2], -1).all(2)
    lengths = same[:, ::-1].astype(int).cumprod(1).sum(1)
    return np.where(lengths > 1, lengths, 0)
