"""The largest stable step along the coming update: the loss at weights moved by multiples of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evengrad.adapters.common.rate import updates_to_begin
from evengrad.adapters.jax.tap.makers import Maker
from evengrad.theory.stability import critical_rate
from evengrad.values.probe import Method, Rate

_LOW, _HIGH, _PER = -24, 36, 2  # powers of the square root of 2 about the first step
STEPS = tuple(2.0 ** (k / _PER) for k in range(_LOW, _HIGH + 1))
"""Multiples of the first step at which the loss is worked out."""


def losses(
    loss: Callable[[Sequence[Any]], Any], weights: Sequence[Any], moves: Sequence[Any]
) -> Any:
    """Norms of weights and of the coming update, then the loss at rest and at each of ``STEPS`` times the first
    step, (3 + steps,), in the compiled function.
    """
    own, moved = _norm(weights), _norm(moves)
    epsilon = max(float(jnp.finfo(w.dtype).eps) for w in weights)
    first = jnp.maximum(1.0, max(1e-3, epsilon) * own / jnp.where(moved > 0, moved, 1.0))

    def at(multiple: Any) -> Any:
        step = multiple * first
        pairs = zip(weights, moves, strict=True)
        return jnp.asarray(loss([w + (step * m).astype(w.dtype) for w, m in pairs]), jnp.float32)

    found = jax.lax.map(at, jnp.asarray((0.0, *STEPS), jnp.float32))
    return jnp.concatenate([jnp.stack([own, moved]), found])


def rate_of(packed: Any, now: float, maker: Maker | None) -> Rate:
    """What these losses say of a rate. Raises ValueError where the loss is not finite or nothing moves."""
    own, moved, rest, *others = np.asarray(packed, dtype=np.float64).tolist()
    first = updates_to_begin([own], [moved], float(np.finfo(np.float32).eps))
    steps = [now * first * step for step in STEPS]

    def at(step: float) -> float:
        if step == 0.0:
            return float(rest)
        if step > steps[-1]:
            return float(others[-1])
        values = np.asarray([rest, *others])
        high = int(np.searchsorted(steps, step))
        if not np.isfinite(values[high : high + 2]).all():
            return float(values[high + 1])
        return float(np.interp(step, [0.0, *steps], values))

    critical, _ = critical_rate(at, now * first)
    return Rate(now, critical if critical < steps[-1] else math.inf, len(STEPS) + 1, method(maker))


def method(maker: Maker | None) -> Method:
    """What of an optimizer decides the edge."""
    known = [] if maker is None else [one for one in maker.all() if one.rate is not None]
    if not known:
        return Method("other")
    name, given = known[-1].name, known[-1].given
    momentum = float(given.get("momentum") or 0.0)
    if "adam" in name or name in ("amsgrad", "lamb"):
        return Method(
            "adam", _number(given, "b1", 0.9), "nadam" in name, _number(given, "b2", 0.999)
        )
    if name == "rmsprop":
        return Method(
            "rmsprop", momentum, bool(given.get("nesterov")), _number(given, "decay", 0.9)
        )
    if name == "adagrad":
        return Method("adagrad")
    if name == "sgd":
        return Method("sgd", momentum, bool(given.get("nesterov")))
    return Method("other", momentum)


def _number(given: dict[str, Any], name: str, usual: float) -> float:
    found = given.get(name, usual)
    return float(found) if isinstance(found, int | float) else usual


def _norm(values: Sequence[Any]) -> Any:
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(v)) for v in values])).astype(jnp.float32)
    safe = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1.0)
    parts = [jnp.sum(jnp.square(v.astype(jnp.float32) / safe)) for v in values]
    return safe * jnp.sqrt(sum(parts))
