"""How large a step of the coming update the loss bears: forward passes at moved weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from evengrad.adapters.torch.update import coming_step
from evengrad.probe import Method, Probe, Rate
from evengrad.theory.stability import critical_rate

_ITERATIONS, _CLOSE = 40, 1e-3


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
        return replace(found, rate=_rate(optimizer, gradients, again, precise))
    except Exception as error:  # the probe stands, whatever becomes of this
        note = f"the largest stable learning rate could not be worked out: {error}"
        return replace(found, notes=(*found.notes, note))
    finally:
        torch.set_rng_state(state)


def _rate(
    optimizer: Any, gradients: dict[int, Any] | None, loss: Callable[[], Any], precise: bool
) -> Rate | None:
    """Weights are back bit for bit afterwards. None without a positive learning rate."""
    now = optimizer.param_groups[0].get("lr") if optimizer.param_groups else None
    if now is None or float(now) <= 0.0:
        return None
    now = float(now)
    after, scales = coming_step(optimizer, gradients)
    moves = [(p, (new - p).detach()) for p, new in after]
    kept = [p.detach().clone() for p, _ in moves]

    def at(step: float) -> float:
        with torch.no_grad():
            for (p, move), value in zip(moves, kept, strict=True):
                p.copy_(value + move * (step / now))
            return float(loss().item())

    try:
        critical, passes = critical_rate(at, now)
    finally:
        with torch.no_grad():
            for (p, _), value in zip(moves, kept, strict=True):
                p.copy_(value)
    sharpness = None
    if precise:
        sharpness = _sharpness([p for p, _ in moves], loss, scales)
    return Rate(now, critical, passes, method(optimizer), sharpness)


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
    if name == "sgd":
        return Method("sgd", float(group.get("momentum", 0.0)), bool(group.get("nesterov")))
    return Method("other", float(group.get("momentum", 0.0)))


def _sharpness(parameters: list[Any], loss: Callable[[], Any], scale: dict[int, Any]) -> float:
    """Largest eigenvalue of P^-1/2 H P^-1/2 by power iteration on Hessian-vector products (Pearlmutter
    1994), at most 40 of them.
    """
    with torch.enable_grad():
        value = loss()
        gradients = torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True)
    used = [
        (p, g)
        for p, g in zip(parameters, gradients, strict=True)
        if g is not None and g.requires_grad
    ]
    if not used:
        return 0.0
    roots = [scale[id(p)].rsqrt() if id(p) in scale else None for p, _ in used]
    generator = torch.Generator().manual_seed(0)
    vector = [torch.randn(p.shape, generator=generator, dtype=torch.float32).to(p) for p, _ in used]
    largest = 0.0
    for _ in range(_ITERATIONS):
        norm = torch.sqrt(sum((v.double() ** 2).sum() for v in vector))
        if not torch.isfinite(norm) or float(norm) == 0.0:
            break
        vector = [v / norm.to(v) for v in vector]
        moved = [v if r is None else v * r for v, r in zip(vector, roots, strict=True)]
        product = torch.autograd.grad(
            [g for _, g in used], [p for p, _ in used], moved, retain_graph=True, allow_unused=True
        )
        found = [
            torch.zeros_like(v) if h is None else h for h, v in zip(product, vector, strict=True)
        ]
        found = [h if r is None else h * r for h, r in zip(found, roots, strict=True)]
        value = float(
            sum((h.double() * v.double()).sum() for h, v in zip(found, vector, strict=True))
        )
        if abs(value - largest) <= _CLOSE * abs(value):
            return abs(value)
        largest, vector = value, found
    return abs(largest)
