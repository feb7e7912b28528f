"""How large a step of the coming update the loss bears: forward passes at other weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.differentiate import Run, along, array, curvature
from evengrad.adapters.keras.update import Step, coming_step, describe, unscaled
from evengrad.adapters.keras.weights import penalty
from evengrad.probe import Method, Probe, Rate
from evengrad.theory.eigenvalue import Vector, largest_eigenvalue
from evengrad.theory.stability import critical_rate


def with_rate(
    found: Probe,
    optimizer: Any,
    run: Run,
    values: tuple[list[Any], list[Any]],
    data: Any,
    step: tuple[list[Any], list[Any]],
    precise: bool = False,
) -> Probe:
    """The probe with the rate that its loss bears.

    run: the loss as trained, penalties included, unscaled. values: of the trainable variables and of the
    others. step: the trainable variables and the gradients of that loss, None where there is none.
    Nothing is assigned, and each pass starts from the same seeds.
    """
    now = describe(optimizer).learning_rate
    if now is None or not now > 0.0:
        return found
    try:
        coming = coming_step(optimizer, *step, dtype="float64")
        loss = along(run, values[0], _moves(coming), values[1], data)
        critical, passes = critical_rate(lambda rate: _finite_at_rest(loss, rate / now), now)
        rate = Rate(now, critical, passes, method(optimizer))
    except Exception as error:  # the probe stands, whatever becomes of this
        return _noted(found, f"the largest stable learning rate could not be worked out: {error}")
    if precise:
        try:
            sharpness = _sharpness(run, values, data, coming)
            rate = replace(rate, sharpness=sharpness)
        except Exception as error:
            found = _noted(
                found,
                "the Hessian's largest eigenvalue could not be worked out, the learning rate is judged by "
                f"forward passes: {error}",
            )
    return replace(found, rate=rate)


def method(optimizer: Any) -> Method:
    """What of an optimizer decides the edge; of the inner one under loss scaling."""
    inner, known = unscaled(optimizer), keras.optimizers
    if isinstance(inner, known.Adam | known.Nadam | known.Adamax):
        nesterov = isinstance(inner, known.Nadam)
        return Method("adam", float(inner.beta_1), nesterov, float(inner.beta_2))
    if isinstance(inner, known.RMSprop):
        return Method("rmsprop", float(inner.momentum or 0.0), False, float(inner.rho))
    if isinstance(inner, known.Adagrad):
        return Method("adagrad")
    momentum = getattr(inner, "momentum", 0.0)
    momentum = float(momentum) if isinstance(momentum, float | int) else 0.0
    if isinstance(inner, known.SGD):
        return Method("sgd", momentum, bool(inner.nesterov))
    return Method("other", momentum)


def trained_loss(run: Run, variables: list[Any]) -> Run:
    """A run with the regularisers' penalties on top, as Keras trains."""
    if not any(v.regularizer is not None for v in variables):
        return run
    penalties = penalty(variables)

    def total(tap: Any, weights: list[Any], others: list[Any], data: Any) -> tuple[Any, Any]:
        value, kept = run(tap, weights, others, data)
        term, _ = penalties(tap, weights, others, data)
        return value + keras.ops.cast(term, value.dtype), kept

    return total


def _noted(found: Probe, note: str) -> Probe:
    return replace(found, notes=(*found.notes, note.splitlines()[0]))


def _moves(coming: list[Step | None]) -> list[Any]:
    moves = [None if step is None else step.move for step in coming]
    present = [move for move in moves if move is not None]
    if not all(np.isfinite(move).all() for move in present):
        raise ArithmeticError("the coming update is not finite")
    if not any(move.any() for move in present):
        raise ArithmeticError("the coming update moves no weight")
    return moves


def _finite_at_rest(loss: Any, factor: float) -> float:
    value = float(loss(factor))
    if factor == 0.0 and not np.isfinite(value):
        raise ArithmeticError("the loss is not finite")
    return value


def _sharpness(
    run: Run, values: tuple[list[Any], list[Any]], data: Any, coming: list[Step | None]
) -> float:
    """Largest eigenvalue of P^-1/2 H P^-1/2 over the weights that move."""
    moving = [i for i, step in enumerate(coming) if step is not None]
    parts = [coming[i] for i in moving]
    roots = [
        1.0 if part is None or part.scale is None else 1 / np.sqrt(part.scale) for part in parts
    ]
    shapes = [tuple(values[0][i].shape) for i in moving]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    hessian = curvature(run, values[0], moving, values[1], data)

    def product(vector: Vector) -> Vector:
        pieces = np.split(vector, ends[:-1])
        moved = [
            p.reshape(shape) * root for p, shape, root in zip(pieces, shapes, roots, strict=True)
        ]
        found = hessian(moved)
        return np.concatenate(
            [
                np.zeros(p.size) if h is None else (array(h).astype(np.float64) * root).ravel()
                for h, p, root in zip(found, pieces, roots, strict=True)
            ]
        )

    return largest_eigenvalue(product, int(ends[-1]))
