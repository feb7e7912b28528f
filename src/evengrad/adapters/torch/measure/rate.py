"""How large a step of the coming update the loss bears: forward passes at moved weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from evengrad.adapters.torch.measure.curvature import sharpness
from evengrad.adapters.torch.measure.update import coming_step
from evengrad.theory.stability import critical_rate, first_step
from evengrad.values.probe import Method, Probe, Rate


def with_rate(
    found: Probe,
    optimizer: Any,
    gradients: dict[int, Any] | None,
    loss: Callable[[], Any],
    precise: bool = False,
) -> Probe:
    """The probe with the rate that its loss bears. gradients: by parameter id, or None for the ``.grad`` at
    hand. loss: a forward pass with the weights as they are; dropout tosses the same coins in each.
    """
    state = torch.get_rng_state()

    def again() -> Any:
        torch.set_rng_state(state)
        return loss()

    try:
        made = _rate(optimizer, gradients, again)
        if made is None:
            return found
        rate, weights, scales = made
    except Exception as error:  # the probe stands, whatever becomes of this
        return _noted(found, f"the largest stable learning rate could not be worked out: {error}")
    finally:
        torch.set_rng_state(state)
    if precise:
        try:
            rate = replace(rate, sharpness=sharpness(weights, again, scales))
        except Exception as error:
            note = (
                "the Hessian's largest eigenvalue could not be worked out, the learning rate is judged by "
                f"forward passes alone: {error}"
            )
            found = _noted(found, note)
        finally:
            torch.set_rng_state(state)
    return replace(found, rate=rate)


def _noted(found: Probe, note: str) -> Probe:
    return replace(found, notes=(*found.notes, note.splitlines()[0]))


def _rate(
    optimizer: Any, gradients: dict[int, Any] | None, loss: Callable[[], Any]
) -> tuple[Rate, list[Any], dict[int, Any]] | None:
    """With the weights that move and what their step was divided by; weights are back bit for bit
    afterwards. None without a positive learning rate.
    """
    now = optimizer.param_groups[0].get("lr") if optimizer.param_groups else None
    if now is None or float(now) <= 0.0:
        return None
    now = float(now)
    moves, scales = coming_step(optimizer, gradients)
    kept = [p.detach().clone() for p, _ in moves]

    def at(step: float) -> float:
        with torch.no_grad():
            for (p, move), value in zip(moves, kept, strict=True):
                p.copy_(value + move * (step / now))
            return float(loss().item())

    try:
        critical, passes = critical_rate(at, now * _first(moves))
    finally:
        with torch.no_grad():
            for (p, _), value in zip(moves, kept, strict=True):
                p.copy_(value)
    return Rate(now, critical, passes, method(optimizer)), [p for p, _ in moves], scales


def _first(moves: list[tuple[Any, Any]]) -> float:
    """How many coming updates the search's first step is."""
    if not moves:
        raise ValueError("the coming update moves no weight")
    weights = math.hypot(*(float(torch.linalg.vector_norm(p.detach())) for p, _ in moves))
    move = math.hypot(*(float(torch.linalg.vector_norm(m)) for _, m in moves))
    return first_step(weights, move, max(float(torch.finfo(p.dtype).eps) for p, _ in moves))


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
