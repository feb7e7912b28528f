"""The largest stable step along the coming update: forward passes at moved weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from evengrad.adapters.common import rate as common
from evengrad.adapters.torch.measure.curvature import sharpness
from evengrad.adapters.torch.measure.update import ComingUpdate, coming_step, norms
from evengrad.theory.stability import critical_rate
from evengrad.values.probe import Method, Probe, Rate


def with_rate(
    found: Probe,
    optimizer: Any,
    gradients: dict[int, Any] | None,
    loss: Callable[[], Any],
    precise: bool = False,
    coming: ComingUpdate | None = None,
) -> Probe:
    """The probe with its largest stable rate. gradients: by parameter id, or None for the ``.grad`` at hand.
    loss: a forward pass with the weights as they are; dropout draws the same in each. coming: the optimizer's
    step, where it was taken already.
    """
    state = torch.get_rng_state()
    made: list[Any] = []

    def again() -> Any:
        torch.set_rng_state(state)
        return loss()

    def rate() -> Rate | None:
        worked_out = _rate(optimizer, gradients, again, precise, coming)
        if worked_out is None:
            return None
        made.extend(worked_out[1:])
        return worked_out[0]

    def eigenvalue() -> float:
        weights, scales = made
        return sharpness(weights, again, scales)

    try:
        return common.with_rate(found, rate, eigenvalue if precise else None)
    finally:
        torch.set_rng_state(state)


def _rate(
    optimizer: Any,
    gradients: dict[int, Any] | None,
    loss: Callable[[], Any],
    scaled: bool,
    coming: ComingUpdate | None,
) -> tuple[Rate, list[Any], dict[int, Any]] | None:
    """With the weights that move and what their step was divided by; weights are back bit for bit
    afterwards. scaled: whether the latter is wanted. None without a positive learning rate.
    """
    now = optimizer.param_groups[0].get("lr") if optimizer.param_groups else None
    if now is None or float(now) <= 0.0:
        return None
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError(
            "LBFGS scales each of its inner steps by what it has learnt of the curvature"
        )
    now = float(now)
    moves, scales = coming_step(optimizer, gradients, scaled, coming)
    kept = [p.detach().clone() for p, _ in moves]

    path = _TorchPath(optimizer, loss, now, moves)
    try:
        critical, passes = path.search()
        found = Rate(now, critical, passes, method(optimizer), loss=path.rest)
        found = common.with_later(found, path, scaled)
    finally:
        with torch.no_grad():
            for (p, _), value in zip(moves, kept, strict=True):
                p.copy_(value)
    return found, [p for p, _ in moves], scales


class _TorchPath:
    """Of the weights themselves, which the caller puts back. now: the rate of ``moves``. rest: the loss where
    they are.
    """

    def __init__(
        self, optimizer: Any, loss: Callable[[], Any], now: float, moves: list[tuple[Any, Any]]
    ) -> None:
        self._optimizer, self._loss, self._now = optimizer, loss, now
        self.rest = math.nan
        self._set(moves)

    def _set(self, moves: list[tuple[Any, Any]]) -> None:
        self._moves = moves
        self._here = [p.detach().clone() for p, _ in moves]

    def search(self) -> tuple[float, int]:
        """The critical rate along the moves at hand."""
        return critical_rate(self.move, self._now * _first(self._moves))

    def critical(self, near: float) -> float:
        """See Path."""
        weights = [p for p, _ in self._moves]
        with torch.enable_grad():
            found = torch.autograd.grad(self._loss(), weights, allow_unused=True)
        gradients = {id(p): g for p, g in zip(weights, found, strict=True) if g is not None}
        self._set(coming_step(self._optimizer, gradients)[0])
        return critical_rate(self.move, near)[0]

    def move(self, rate: float) -> float:
        """See Path."""
        with torch.no_grad():
            for (p, move), value in zip(self._moves, self._here, strict=True):
                torch.add(value, move, alpha=rate / self._now, out=p.detach())
            loss = float(self._loss().item())
        self.rest = loss if rate == 0.0 else self.rest
        return loss


def _first(moves: list[tuple[Any, Any]]) -> float:
    """How many coming updates the search's first step is."""
    if not moves:
        raise ValueError("the coming update moves no weight")
    weights = norms([p.detach() for p, _ in moves])
    steps = norms([m for _, m in moves])
    epsilon = max(float(torch.finfo(p.dtype).eps) for p, _ in moves)
    return common.updates_to_begin(weights, steps, epsilon)


def method(optimizer: Any) -> Method:
    """What of an optimizer decides the edge."""
    name = type(optimizer).__name__.lower()
    group = optimizer.param_groups[0]
    if "adam" in name and "betas" in group:
        return Method("adam", float(group["betas"][0]), "nadam" in name, float(group["betas"][1]))
    if "rmsprop" in name:
        return Method("rmsprop", float(group.get("momentum", 0.0)), False, float(group["alpha"]))
    if "adagrad" in name:
        return Method("adagrad")
    if isinstance(optimizer, torch.optim.SGD):
        return Method("sgd", float(group.get("momentum", 0.0)), bool(group.get("nesterov")))
    return Method("other", float(group.get("momentum", 0.0)))
