"""Shapes of an output and its targets that hold the same elements and pair each with every other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from evengrad.adapters.torch.losses.given import LossCall

BROADCASTING = frozenset(
    [
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
        "poisson_nll_loss",
        "kl_div",
        "hinge_embedding_loss",
    ]
)
"""Losses that broadcast; the others refuse two shapes themselves."""


def judge_shapes(call: LossCall) -> dict[str, Any] | None:
    """The three shapes of a loss whose two sides broadcast, for a fact; None where they agree."""
    if call.function not in BROADCASTING:
        return None
    result = pairs(call.output.shape, call.target.shape)
    if result is None:
        return None
    return broadcast(call.function, call.output.shape, call.target.shape, result)


def broadcast(
    function: str, output: Sequence[int], target: Sequence[int], result: Sequence[int]
) -> dict[str, Any]:
    """A fact's values."""
    return {
        "function": function,
        "output": list(output),
        "target": list(target),
        "result": list(result),
    }


def pairs(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...] | None:
    """What two shapes broadcast to where that pairs the elements of one with those of the other: they have the
    same axes but for some of one, not the same number of axes, and make more elements than either has. Who
    pairs on purpose, x[:, None] - y[None, :], writes the same number of axes.
    """
    if len(one) == len(other) or [n for n in one if n != 1] != [n for n in other if n != 1]:
        return None
    try:
        result = tuple(torch.broadcast_shapes(tuple(one), tuple(other)))
    except RuntimeError:
        return None
    return result if math.prod(result) > math.prod(one) else None
