"""Targets that a loss has no meaning for, or that the output cannot reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.backend.differentiate import array
from evengrad.adapters.keras.facts.calls import LossHeard

_SLACK = 1e-3  # more than any rounding of a probability
_SQUASHED = ("sigmoid", "softmax", "tanh")
_WITHIN = (0.0, 1.0)


def judge_targets(call: LossHeard) -> dict[str, Any] | None:
    """What of the targets the loss has no meaning for, for a fact; None where all has one, or where they have
    no values yet.
    """
    target = float64_of(call.target)
    if target is None or not target.size or not np.isfinite(target).all():
        return None
    judge = _JUDGES.get(call.function)
    found = _reach(call, target) if call.own or judge is None else judge(call, target)
    return None if found is None else {"function": call.function, **found}


def float64_of(tensor: Any) -> Any:
    """A tensor's values; None for a symbol."""
    if isinstance(tensor, keras.KerasTensor):
        return None
    try:
        return np.asarray(array(tensor), dtype=np.float64)
    except Exception:  # a tensor of a graph that is being made
        return None


def _probability(_call: LossHeard, target: Any) -> dict[str, Any] | None:
    return _outside(target, *_WITHIN, "probability")


def _rows(call: LossHeard, target: Any) -> dict[str, Any] | None:
    """One-hot rows and mixtures of them sum to 1; a row of zeros counts for nothing."""
    found = _probability(call, target)
    if found is not None or target.ndim < 2:
        return found
    sums = target.sum(-1)
    if sums.max() > 1 + 0.01:
        more = {"sums": float(sums.max())}
        return _range(target, *_WITHIN, "distribution") | more
    return None


def _classes(call: LossHeard, target: Any) -> dict[str, Any] | None:
    shape: Any = getattr(call.output, "shape", ())
    if len(shape) < 2 or shape[-1] is None:
        return None
    last = int(shape[-1]) - 1
    known = target if call.ignored is None else target[target != call.ignored]
    if not known.size:
        return None
    whole = (known == np.round(known)).all()
    if whole and known.min() >= 0 and known.max() <= last:
        return None
    return _range(known, 0.0, float(last), "class")


def _count(_call: LossHeard, target: Any) -> dict[str, Any] | None:
    return _outside(target, 0.0, None, "count")


def _sign(_call: LossHeard, target: Any) -> dict[str, Any] | None:
    """Keras makes -1 and 1 of labels of 0 and 1 itself."""
    if np.isin(target, (-1.0, 0.0, 1.0)).all():
        return None
    return _range(target, -1.0, 1.0, "sign")


def _reach(call: LossHeard, target: Any) -> dict[str, Any] | None:
    """Targets that a bounded output never reaches: what that costs, against the constant answer."""
    low, high = call.ends
    if (low is None and high is None) or tuple(call.output.shape) != target.shape:
        return None
    if call.own and (call.head not in _SQUASHED or (call.head == "softmax" and _chosen(target))):
        return None
    floor = float(np.square(target - target.clip(low, high)).mean())
    spread = float(target.var())
    if floor <= 0.25 * spread or floor <= _SLACK:
        return None
    more = {"head": call.head, "floor": floor, "spread": spread}
    return _range(target, low, high, "reach") | more


def _chosen(target: Any) -> bool:
    """Whether each row has one entry: a choice among several, times what it was worth (a policy's gradient)."""
    many = target.ndim > 1 and target.shape[-1] > 1
    return many and bool((np.count_nonzero(target, axis=-1) <= 1).all())


def _outside(target: Any, low: float, high: float | None, kind: str) -> dict[str, Any] | None:
    below = target.min() < low - _SLACK
    above = high is not None and target.max() > high + _SLACK
    return _range(target, low, high, kind) if below or above else None


def _range(target: Any, low: float | None, high: float | None, kind: str) -> dict[str, Any]:
    """kind: what they should be."""
    return {
        "side": "target",
        "kind": kind,
        "low": float(target.min()),
        "high": float(target.max()),
        "least": low,
        "most": high,
        "integral": bool((target == np.round(target)).all()),
    }


_JUDGES: dict[str, Callable[[LossHeard, Any], dict[str, Any] | None]] = {
    "binary_crossentropy": _probability,
    "binary_focal_crossentropy": _probability,
    "sigmoid_cross_entropy_with_logits": _probability,
    "dice": _probability,
    "tversky": _probability,
    "kl_divergence": _probability,
    "categorical_crossentropy": _rows,
    "categorical_focal_crossentropy": _rows,
    "softmax_cross_entropy_with_logits": _rows,
    "sparse_categorical_crossentropy": _classes,
    "sparse_softmax_cross_entropy_with_logits": _classes,
    "poisson": _count,
    "mean_squared_logarithmic_error": _count,
    "hinge": _sign,
    "squared_hinge": _sign,
}
