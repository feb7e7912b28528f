"""The largest stable step along the coming update: forward passes at moved weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from evengrad.adapters.common import rate as common
from evengrad.adapters.keras.backend.differentiate import (
    ForwardRun,
    array,
    curvature,
    forward,
    slope,
)
from evengrad.adapters.keras.measure.update import coming_step, unscaled
from evengrad.adapters.keras.trace.weights import penalty
from evengrad.theory.stability import critical_rate, largest_eigenvalue
from evengrad.values.probe import Method, Probe, Rate


def with_rate(
    found: Probe,
    optimizer: Any,
    variables: list[Any],
    gradients: list[Any],
    run: ForwardRun,
    others: list[Any],
    data: Any,
    *,
    precise: bool = False,
) -> Probe:
    """The probe with its largest stable rate.

    gradients: of the whole loss, penalties included, None where there is none. run: the forward pass to the
    loss without penalties, which assigns nothing.
    """
    run = _penalised(run, variables)
    here = [v.value for v in variables]
    divided: list[Any] = []

    def rate() -> Rate | None:
        now = float(array(unscaled(optimizer).learning_rate))
        if now <= 0.0:
            return None
        path = _KerasPath(optimizer, variables, run, others, data, now)
        divided.extend(path.set(gradients))
        critical, passes = path.search()
        found = Rate(now, critical, passes, method(unscaled(optimizer)), loss=path.rest)
        return common.with_later(found, path, precise)

    def eigenvalue() -> float:
        product = _preconditioned(curvature(run, here, others, data), here, divided)
        return largest_eigenvalue(product, sum(math.prod(h.shape) for h in here))

    return common.with_rate(found, rate, eigenvalue if precise else None)


def _penalised(run: ForwardRun, variables: list[Any]) -> ForwardRun:
    """With the regularisers' penalties on top, as Keras trains."""
    if not any(v.regularizer is not None for v in variables):
        return run
    penalties = penalty(variables)

    def total(tap: Any, weights: list[Any], others: list[Any], data: Any) -> tuple[Any, Any]:
        value, kept = run(tap, weights, others, data)
        term, _ = penalties(tap, weights, others, data)
        return value + keras.ops.cast(term, value.dtype), kept

    return total


class _KerasPath:
    """Of values beside the weights, which stay. now: the learning rate. rest: the loss where the values are."""

    def __init__(
        self,
        optimizer: Any,
        variables: list[Any],
        run: ForwardRun,
        others: Any,
        data: Any,
        now: float,
    ) -> None:
        self._optimizer, self._variables, self._now = optimizer, variables, now
        self._loss, self._slope = forward(run, others, data), slope(run, others, data)
        self._here = self._moved = [v.value for v in variables]
        self._moves: list[Any] = []
        self.rest = math.nan

    def set(self, gradients: list[Any]) -> list[Any]:
        """The coming update of these, from here; what it was divided by."""
        self._here = self._moved
        self._moves, scales = coming_step(self._optimizer, self._variables, gradients, self._here)
        return scales

    def search(self) -> tuple[float, int]:
        """The critical rate along the moves at hand."""
        return critical_rate(self.move, self._now * _first(self._here, self._moves))

    def critical(self, near: float) -> float:
        """See Path."""
        self.set(self._slope(self._moved))
        return critical_rate(self.move, near)[0]

    def move(self, rate: float) -> float:
        """See Path."""
        self._moved = [
            h
            if m is None
            else keras.ops.convert_to_tensor(array(h) + m * (rate / self._now), h.dtype)
            for h, m in zip(self._here, self._moves, strict=True)
        ]
        loss = self._loss(self._moved)
        self.rest = loss if rate == 0.0 else self.rest
        return loss


def _first(here: list[Any], moves: list[Any]) -> float:
    """How many coming updates the search's first step is."""
    pairs = [(h, m) for h, m in zip(here, moves, strict=True) if m is not None]
    if not pairs:
        return common.updates_to_begin([], [], 0.0)
    weights = [float(np.linalg.norm(array(h))) for h, _ in pairs]
    steps = [float(np.linalg.norm(m)) for _, m in pairs]
    return common.updates_to_begin(weights, steps, max(_eps(h) for h, _ in pairs))


def _eps(tensor: Any) -> float:
    short = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
    return short.get(keras.backend.standardize_dtype(tensor.dtype), 0.0)


def method(optimizer: Any) -> Method:
    """What of an optimizer decides the edge."""
    known = keras.optimizers
    by_name = hasattr(optimizer, "beta_1") and "adam" in type(optimizer).__name__.lower()
    if by_name or isinstance(optimizer, known.Adam | known.Nadam | known.Adamax):
        nesterov = isinstance(optimizer, known.Nadam)
        return Method("adam", float(optimizer.beta_1), nesterov, float(optimizer.beta_2))
    momentum = getattr(optimizer, "momentum", 0.0) or 0.0
    momentum = float(momentum) if isinstance(momentum, int | float) else 0.0
    if isinstance(optimizer, known.RMSprop):
        return Method("rmsprop", momentum, False, float(optimizer.rho))
    if isinstance(optimizer, known.Adagrad):
        return Method("adagrad")
    if isinstance(optimizer, known.SGD):
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
