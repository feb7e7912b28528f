"""A clip so tight that the steps it leaves move nothing, or less than an optimizer's epsilon."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.loop.stepper import Report, Stepper, Watcher, sharded
from evengrad.adapters.torch.statistics.eager import wide
from evengrad.adapters.torch.tap.models import find_roots
from evengrad.adapters.torch.tap.subject import names_of
from evengrad.theory.stalled import stalled
from evengrad.values.fact import Where

_STILL = 1e-5  # of the weights, in a step
_LITTLE = 0.1  # of the gradient's norm
_READ = 8  # last clips, of which the median counts
_DIVIDING = ("betas", "alpha", "lr_decay")  # settings of Adam and its kin, RMSprop, Adagrad


@dataclass(frozen=True, slots=True)
class _BoundCall:
    """One call. norm: before it, on the device. weights: the clipped ones. left: norm of each one's gradient
    behind it, on the device, of optimizers that divide by gradients.
    """

    bound: float
    norm: Any
    place: Where | None
    weights: list[Any]
    left: Any = None


class Clipping(Watcher):
    """Compares what a clip by norm leaves of each step with the weights."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._clips: dict[int, deque[_BoundCall]] = {}  # of each optimizer, the last ones

    def clipped(self, weights: list[Any], bound: float, norm: Any, one: Stepper) -> None:
        """By the script, in front of this optimizer's step."""
        if not isinstance(norm, torch.Tensor):
            return
        left = None
        if _divides(one.optimizer) and not sharded(weights):
            own = [w.grad.detach() for w in weights if w.grad is not None]
            left = torch.stack([torch.linalg.vector_norm(g, dtype=wide(g.device)) for g in own])
        call = _BoundCall(bound, norm.detach(), where(), weights, left)
        self._clips.setdefault(id(one), deque(maxlen=_READ)).append(call)

    def ended(self, known: Sequence[Stepper]) -> None:
        """Of the script, or of what is looked at."""
        for one in known:
            clips = self._clips.get(id(one))
            if clips is None or one.optimizer is None or not one.steps:
                continue
            values = _swallowed(clips, one) if _divides(one.optimizer) else _judge(clips[-1], one)
            if values is not None:
                self.report(one, "clipped_away", clips[-1].place, values)

    def only(self, one: Stepper) -> None:
        """Judge by the step that is about to be made, alone."""
        self.ended([one])


def _judge(clip: _BoundCall, one: Stepper) -> dict[str, Any] | None:
    group = one.optimizer.param_groups[0]
    if not isinstance(one.optimizer, torch.optim.SGD):
        return None  # the others may divide by the gradient's size
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


def _divides(optimizer: Any) -> bool:
    """Whether it divides by the root of squares plus an epsilon."""
    groups = [] if optimizer is None else optimizer.param_groups
    return any("eps" in g and any(word in g for word in _DIVIDING) for g in groups)


def _swallowed(clips: Sequence[_BoundCall], one: Stepper) -> dict[str, Any] | None:
    """By its epsilon, of what is left of the last calls that clip the same weights."""
    last = clips[-1]
    ids = [id(w) for w in last.weights]
    same = [c for c in clips if c.left is not None and [id(w) for w in c.weights] == ids]
    read = [(float(c.norm), c.left.cpu().numpy().astype(np.float64)) for c in same]
    read = [(norm, left) for norm, left in read if len(left) == len(ids) and np.isfinite(norm)]
    if not read:
        return None
    sizes = [w.numel() for w in last.weights]
    root = np.sqrt(np.maximum(sizes, 1))
    taken = [max(norm / last.bound, 1.0) for norm, _ in read]
    behind = np.median([left for _, left in read], axis=0) / root
    before = behind * float(np.median(taken))
    names = names_of(one.optimizer, find_roots(one.parameters))
    known = {id(p): name for name, p in names.items()}
    found = stalled(before, behind, sizes, [known.get(i, "a weight") for i in ids], _epsilon(one))
    if found is None:
        return None
    return {"optimizer": one.name, "bound": last.bound, "argument": "max_norm"} | found


def _epsilon(one: Stepper) -> float:
    return float(next(g["eps"] for g in one.optimizer.param_groups if "eps" in g))
