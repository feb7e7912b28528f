"""How large a step of the coming update the loss bears: forward passes at moved weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.differentiate import Run, array, curvature, forward
from evengrad.adapters.keras.update import coming_step, unscaled
from evengrad.probe import Method, Rate
from evengrad.theory.stability import critical_rate, largest_eigenvalue


def rate_of(
    optimizer: Any,
    variables: list[Any],
    gradients: list[Any],
    run: Run,
    others: list[Any],
    data: Any,
    *,
    precise: bool = False,
) -> Rate | None:
    """gradients: of the whole loss, None where there is none. run: the forward pass, which assigns nothing.

    None without a positive learning rate.
    """
    inner = unscaled(optimizer)
    now = float(array(inner.learning_rate))
    if now <= 0.0:
        return None
    here = [v.value for v in variables]
    after, scales = coming_step(optimizer, variables, gradients)
    moves = [None if a is None else array(a) - array(h) for a, h in zip(after, here, strict=True)]
    loss = forward(run, others, data)

    def at(step: float) -> float:
        moved = [
            h if m is None else keras.ops.convert_to_tensor(array(h) + m * (step / now), h.dtype)
            for h, m in zip(here, moves, strict=True)
        ]
        return loss(moved)

    critical, passes = critical_rate(at, now)
    sharpness = None
    if precise:
        product = _preconditioned(curvature(run, here, others, data), here, scales)
        sharpness = largest_eigenvalue(product, sum(math.prod(h.shape) for h in here))
    return Rate(now, critical, passes, method(inner), sharpness)


def method(optimizer: Any) -> Method:
    """What of an optimizer decides the edge."""
    name = type(optimizer).__name__.lower()
    if hasattr(optimizer, "beta_1") and "adam" in name:
        return Method("adam", float(optimizer.beta_1), "nadam" in name, float(optimizer.beta_2))
    if name == "rmsprop":
        return Method("rmsprop", float(optimizer.momentum or 0.0), False, float(optimizer.rho))
    if name == "adagrad":
        return Method("adagrad")
    momentum = float(getattr(optimizer, "momentum", 0.0) or 0.0)
    if name == "sgd":
        return Method("sgd", momentum, bool(optimizer.nesterov))
    return Method("other", momentum)


def _preconditioned(
    product: Callable[[list[Any]], list[Any]], here: list[Any], scales: list[Any]
) -> Callable[[Any], Any]:
    """P^-1/2 H P^-1/2 on one flat vector."""
    sizes = np.cumsum([math.prod(h.shape) for h in here])[:-1]
    roots = [1.0 if s is None else 1 / np.sqrt(s) for s in scales]

    def apply(flat: Any) -> Any:
        parts = [
            keras.ops.convert_to_tensor(np.reshape(v, h.shape) * r, h.dtype)
            for v, h, r in zip(np.split(flat, sizes), here, roots, strict=True)
        ]
        found = product(parts)
        return np.concatenate(
            [np.ravel(array(h) * r) for h, r in zip(found, roots, strict=True)]
        ).astype(np.float64)

    return apply
