"""Softmaxes that normalise the wrong thing: one element, or the samples of a batch."""

from __future__ import annotations

from typing import Any

import torch

from evengrad.adapters.torch.losses.given import LossCall, head_of


def judge_softmax(call: LossCall) -> dict[str, Any] | None:
    """Of a loss that is given one class, or the output of a softmax over the batch; None of any other."""
    output = call.output
    if call.function == "cross_entropy" and output.ndim > 1 and output.shape[1] == 1:
        return {
            "problem": "one",
            "function": "cross_entropy",
            "shape": list(output.shape),
            "axis": 1,
        }
    head = head_of(output)
    if head not in ("softmax", "log_softmax") or output.ndim != 2 or min(output.shape) < 2:
        return None
    shares = output.float().exp() if head == "log_softmax" else output.float()
    if _ones(shares.sum(0)) and not _ones(shares.sum(1)):
        return {"problem": "axis", "function": head, "shape": list(output.shape), "axis": 0}
    return None


def one_unit(function: str, args: Any, kwargs: Any) -> dict[str, Any] | None:
    """Of a softmax over an axis of one element; None of any other."""
    given = args[0] if args else kwargs.get("input")
    if not isinstance(given, torch.Tensor) or not given.requires_grad or not given.ndim:
        return None
    axis = args[1] if len(args) > 1 else kwargs.get("dim")
    if axis is None:
        axis = 0 if given.ndim in (1, 3) else 1  # as torch chooses it
    if given.shape[axis] != 1 or given.numel() == 1:
        return None
    axis = axis % given.ndim
    return {"problem": "one", "function": function, "shape": list(given.shape), "axis": axis}


def _ones(sums: Any) -> bool:
    return bool(((sums - 1).abs() < 1e-3).all())
