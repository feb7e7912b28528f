"""Closing softmaxes that have one unit to choose from."""

from __future__ import annotations

from typing import Any

from evengrad.adapters.keras.facts.calls import LossHeard

_CATEGORICAL = (
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "softmax_cross_entropy_with_logits",
)


def judge_head(call: LossHeard) -> dict[str, Any] | None:
    """For a fact; None where there is more to choose from."""
    shape: Any = getattr(call.output, "shape", ())
    if len(shape) < 2 or shape[-1] != 1:
        return None
    if call.head == "softmax" or call.function in _CATEGORICAL:
        return {
            "problem": "one",
            "function": "softmax" if call.head == "softmax" else call.function,
            "shape": [n or 0 for n in shape],
            "axis": len(shape) - 1,
        }
    return None
