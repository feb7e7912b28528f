"""Sees a bad step again: the model's own batch and weights of before it, through a probe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from evengrad.adapters.common.origin import origin_of
from evengrad.adapters.keras.probe import probe
from evengrad.recording.blackbox import Origin
from evengrad.values.run import Floats, Tensor


def find(model: Any, batch: Any, tensors: Sequence[Tensor], norms: Floats) -> Origin | None:
    """Where the step went wrong first; None where that cannot be said.

    batch: (x, y, sample_weight) or None, when the gradients alone have to tell.
    """
    if batch is not None:
        weights = [v for v in keras.tree.flatten(batch[2]) if v is not None]
        if not all(np.isfinite(v).all() for v in weights):
            return Origin(
                "sample_weight", "batch", "the sample weights of the batch are not finite"
            )
        try:
            found = origin_of(probe(model, batch=batch))
        except Exception:  # a model that cannot be probed still has its gradients
            found = None
        if found is not None:
            return found
    return _by_gradients(tensors, norms)


def _by_gradients(tensors: Sequence[Tensor], norms: Floats) -> Origin | None:
    """The bad tensor nearest to the output; all before it has its fault from there."""
    for tensor, norm in reversed(list(zip(tensors, norms, strict=True))):
        if not math.isfinite(norm):
            what = f"of all gradients that are not finite, that of {tensor.name} is nearest to the loss"
            return Origin(tensor.layer, "backward", what)
    largest = int(np.argmax(norms))
    if norms[largest] > 1e18:
        tensor = tensors[largest]
        what = f"the gradient of {tensor.name} is {norms[largest]:.3g}: its square is no float32 number"
        return Origin(tensor.layer, "backward", what)
    return None


def arrays_of(batch: Any) -> dict[str, Any]:
    """A batch by name: "x", "y", "sample_weight", with a number or a key behind it where there are several."""
    found: dict[str, Any] = {}
    for name, part in zip(("x", "y", "sample_weight"), batch or (), strict=False):
        if isinstance(part, Mapping):
            found |= {f"{name}/{k}": v for k, v in part.items() if v is not None}
            continue
        leaves = [v for v in keras.tree.flatten(part) if v is not None]
        for number, leaf in enumerate(leaves):
            found[name if len(leaves) == 1 else f"{name}/{number + 1}"] = leaf
    return {k: np.asarray(v) for k, v in found.items()}
