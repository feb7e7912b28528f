"""A clip so tight that the steps it leaves move nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.loop.stepper import Report, Stepper, Watcher
from evengrad.values.fact import Where

_STILL = 1e-5  # of the weights, in a step
_LITTLE = 0.1  # of the gradient's norm


@dataclass(frozen=True, slots=True)
class _BoundCall:
    """One call. norm: before it, on the device. weights: the clipped ones."""

    bound: float
    norm: Any
    place: Where | None
    weights: list[Any]


class Clipping(Watcher):
    """Compares what a clip by norm leaves of each step with the weights."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._clips: dict[int, _BoundCall] = {}  # of each optimizer, the last one

    def clipped(self, weights: list[Any], bound: float, norm: Any, one: Stepper) -> None:
        """By the script, in front of this optimizer's step."""
        if isinstance(norm, torch.Tensor):
            self._clips[id(one)] = _BoundCall(bound, norm.detach(), where(), weights)

    def ended(self, known: Sequence[Stepper]) -> None:
        """Of the script, or of what is looked at."""
        for one in known:
            clip = self._clips.get(id(one))
            if clip is None or one.optimizer is None or not one.steps:
                continue
            values = _judge(clip, one)
            if values is not None:
                self.report(one, "clipped_away", clip.place, values)

    def only(self, one: Stepper) -> None:
        """Judge by the step that is about to be made, alone."""
        self.ended([one])


def _judge(clip: _BoundCall, one: Stepper) -> dict[str, Any] | None:
    group = one.optimizer.param_groups[0]
    if not isinstance(one.optimizer, torch.optim.SGD):
        return None  # the others divide by the gradient's size
    norm = float(clip.norm)
    with torch.no_grad():
        weights = math.sqrt(sum(float(p.detach().float().square().sum()) for p in clip.weights))
    rate = max(float(group["lr"]), float(group.get("initial_lr", 0.0)))
    moves = rate * clip.bound / (1 - min(float(group.get("momentum", 0.0)), 0.999))
    if not clip.bound < _LITTLE * norm < math.inf or not moves < _STILL * weights:
        return None
    return {
        "optimizer": one.name,
        "bound": clip.bound,
        "norm": norm,
        "moves": moves / weights,
        "rate": rate,
    }
