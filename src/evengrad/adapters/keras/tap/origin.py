"""Sees a bad step again: the model's own batch and weights of before it, through a probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from evengrad.adapters.common.origin import by_gradients, origin_of
from evengrad.adapters.keras.probe import probe
from evengrad.recording.blackbox import Origin
from evengrad.values.run import Floats, Tensor


def find(model: Any, batch: Any, tensors: Sequence[Tensor], norms: Floats) -> Origin:
    """Where the step went wrong first.

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
    return by_gradients(tensors, norms)


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
