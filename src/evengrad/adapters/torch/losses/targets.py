"""Targets, and inputs, that a loss function of torch's has no meaning for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from evengrad.adapters.torch.losses.given import LossCall, head_of

_SLACK = 1e-3  # more than any rounding of a probability
_REGRESSION = frozenset(["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
_SIGNS = frozenset(["hinge_embedding_loss", "soft_margin_loss", "cosine_embedding_loss"])
_RANGES: dict[str, tuple[float, float | None]] = {
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, None),
    "softplus": (0.0, None),
}


def judge_targets(call: LossCall) -> dict[str, Any] | None:
    """What of the targets or inputs the loss has no meaning for, for a fact; None where all has one."""
    judge = _JUDGES.get(call.function)
    found = None if judge is None else judge(call)
    return None if found is None else {"function": call.function, **found}


def where_outside(call: LossCall) -> Any:
    """Which elements of a binary cross-entropy without a reduction are wrong: the script may mask them out yet.
    None of any other.
    """
    if _JUDGES.get(call.function) is not _binary or call.reduction != "none":
        return None
    return (call.target < -_SLACK) | (call.target > 1 + _SLACK)


def outside_mask(values: Any) -> dict[str, Any] | None:
    """Of a mask whose two values are 0 and something above 1; None of anything else."""
    high = values.max()
    if float(values.min()) != 0 or float(high) <= 1 + _SLACK:
        return None
    if not bool(((values == 0) | (values == high)).all()):
        return None
    name = "the sum of output times target"
    return {"function": name, **_range(values, "target", 0.0, 1.0, "probability")}


def _binary(call: LossCall) -> dict[str, Any] | None:
    """Any target outside [0, 1] makes the loss fall without bound."""
    weight = call.options.get("weight")
    target = call.target
    if isinstance(weight, torch.Tensor):
        target = target[(weight != 0).expand_as(target)]
    return _outside(target, 0.0, 1.0, "probability")


def _classes(call: LossCall) -> dict[str, Any] | None:
    if not call.target.is_floating_point() or call.target.shape != call.output.shape:
        return None
    return _outside(call.target, 0.0, 1.0, "probability")


def _poisson(call: LossCall) -> dict[str, Any] | None:
    return _outside(call.target, 0.0, None, "count")


def _divergence(call: LossCall) -> dict[str, Any] | None:
    if float(call.output.max()) > _SLACK:
        return _range(call.output, "input", None, 0.0, "log_probability")
    if call.options.get("log_target"):
        return _outside(call.target, None, 0.0, "log_probability")
    return _outside(call.target, 0.0, 1.0, "probability")


def _log_probabilities(call: LossCall) -> dict[str, Any] | None:
    """Rows whose exponentials sum to clearly more than 1: the loss then falls without bound."""
    axis = 1 if call.output.ndim > 1 else 0
    total = float(call.output.float().logsumexp(axis).max())
    if not 0.1 < total < float("inf"):
        return None
    return _range(call.output, "input", None, 0.0, "log_probability")


def _sign(call: LossCall) -> dict[str, Any] | None:
    target = call.target
    yes_and_no = bool((target == 0).any()) and bool((target == 1).any())
    if not yes_and_no or not bool(((target == 0) | (target == 1)).all()):
        return None
    return _range(target, "target", -1.0, 1.0, "sign")


def _reach(call: LossCall) -> dict[str, Any] | None:
    """Targets that a bounded output never reaches: what that costs, against the constant answer."""
    head = head_of(call.output)
    if call.output.shape != call.target.shape or (head not in _RANGES and call.clamp is None):
        return None
    head, low, high = call.clamp or (head, *_RANGES[str(head)])
    target = call.target.double()
    floor = float((target - target.clamp(low, high)).square().mean())
    spread = float(target.var(correction=0))
    if floor <= 0.25 * spread or floor <= _SLACK:
        return None
    return _range(call.target, "target", low, high, "reach") | {
        "head": head,
        "floor": floor,
        "spread": spread,
    }


def _outside(
    values: Any, low: float | None, high: float | None, kind: str
) -> dict[str, Any] | None:
    if not values.numel():
        return None
    below = low is not None and float(values.min()) < low - _SLACK
    above = high is not None and float(values.max()) > high + _SLACK
    return _range(values, "target", low, high, kind) if below or above else None


def _range(
    values: Any, side: str, low: float | None, high: float | None, kind: str
) -> dict[str, Any]:
    """kind: what they should be."""
    return {
        "side": side,
        "kind": kind,
        "low": float(values.min()),
        "high": float(values.max()),
        "least": low,
        "most": high,
        "integral": bool((values == values.round()).all()),
    }


_JUDGES: dict[str, Callable[[LossCall], dict[str, Any] | None]] = {
    "binary_cross_entropy": _binary,
    "binary_cross_entropy_with_logits": _binary,
    "multilabel_soft_margin_loss": _binary,
    "cross_entropy": _classes,
    "poisson_nll_loss": _poisson,
    "kl_div": _divergence,
    "nll_loss": _log_probabilities,
    **dict.fromkeys(_SIGNS, _sign),
    **dict.fromkeys(_REGRESSION, _reach),
}
