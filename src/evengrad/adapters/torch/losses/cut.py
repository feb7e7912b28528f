"""Scores of places that were flattened without moving the axis of the classes to the end."""

from __future__ import annotations

from typing import Any

from evengrad.adapters.torch.compat import shape_before
from evengrad.adapters.torch.losses.given import LossCall

_VIEWS = ("ViewBackward", "UnsafeViewBackward", "ReshapeAliasBackward")


def judge_cut(call: LossCall) -> dict[str, Any] | None:
    """Of a loss that reads rows of classes out of scores whose classes are the second axis, against the labels
    of the same places; None of any other.
    """
    output, target = call.output, call.target
    if call.function not in ("cross_entropy", "nll_loss") or output.ndim != 2 or target.ndim != 1:
        return None
    if not type(output.grad_fn).__name__.startswith(_VIEWS):
        return None
    shape, labels = shape_before(output), shape_before(target)
    classes = int(output.shape[1])
    if shape is None or labels is None or len(shape) < 3 or shape[1] != classes or classes < 2:
        return None
    if labels != [shape[0], *shape[2:]] or max(shape[2:]) < 2:
        return None
    if shape[-1] == classes and len(shape) == 3:
        return None  # which of the two axes has the classes is not to be seen
    return {"function": call.function, "shape": shape, "classes": classes}
