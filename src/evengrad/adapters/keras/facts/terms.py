"""A sum over the batch beside a mean over it, in a loss that TensorFlow has traced."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from evengrad.adapters.keras.facts.graphs import place_of
from evengrad.values.fact import Fact

KIND = "terms_mixed"
_SAME = frozenset(["Identity", "Cast", "Neg", "StopGradient", "Squeeze"])
_ADD = frozenset(["Add", "AddV2", "AddN", "Sub", "Pack"])
_LEAST = 0.1  # a sum that is weighed by less is meant so
_DEEP = 40


@dataclass(frozen=True, slots=True, eq=False)
class _GraphTerm:
    """op: that reduces. mean: it is divided by its size. rows: the length of its first axis, None where that is
    not known while it is traced. factor: it is weighed by.
    """

    op: Any
    mean: bool
    rows: Any
    factor: float


def mixed_terms(target: Any) -> Fact | None:
    """Of what a tape differentiates; None where there are no two such terms, or nothing was traced."""
    terms = list(_terms(_op(target), 1.0, _DEEP))
    means = [t for t in terms if t.mean and t.factor == 1.0]
    for one in terms:
        beside = [t for t in means if t.rows == one.rows]
        if not one.mean and one.factor >= _LEAST and beside:
            given = one.op.inputs[0].shape
            known = [n for n in given if n is not None]
            values: dict[str, Any] = {
                "sum": "sum",
                "mean": "mean",
                "mean_at": str(place_of(beside[0].op) or ""),
                "rows": one.rows or 0,
                "elements": math.prod(known) if len(known) == len(given) else 0,
                "sizes": [],
            }
            return Fact(KIND, place_of(one.op), None, values)
    return None


def _terms(op: Any, factor: float, left: int) -> Iterator[_GraphTerm]:
    if op is None or not left:
        return
    if op.type in _SAME or (op.type == "Sum" and op.inputs[0].shape.rank == 0):
        yield from _terms(op.inputs[0].op, factor, left - 1)
    elif op.type in _ADD or (op.type == "Sum" and op.inputs[0].op.type == "Pack"):
        parts = op.inputs[0].op.inputs if op.type == "Sum" else op.inputs
        for part in parts:
            yield from _terms(part.op, factor, left - 1)
    elif op.type == "Mul":
        numbers = [_number(t) for t in op.inputs]
        for tensor, other in zip(op.inputs, reversed(numbers), strict=True):
            if other is not None:
                yield from _terms(tensor.op, factor * abs(other), left - 1)
    elif op.type in ("Sum", "Mean"):
        yield from _reduced(op, op.type == "Mean", factor)
    elif op.type in ("RealDiv", "DivNoNan"):
        yield from (
            _GraphTerm(t.op, True, t.rows, t.factor)
            for t in _terms(op.inputs[0].op, factor, left - 1)
            if not t.mean
        )


def _reduced(op: Any, mean: bool, factor: float) -> Iterator[_GraphTerm]:
    given = op.inputs[0].shape
    if given.rank and op.outputs[0].shape.rank == 0 and given[0] != 1:
        yield _GraphTerm(op, mean, given[0], factor)


def _number(tensor: Any) -> float | None:
    import tensorflow as tf

    value = tf.get_static_value(tensor)
    return None if value is None or value.ndim else float(value)


def _op(target: Any) -> Any:
    try:
        return target.op
    except (AttributeError, NotImplementedError):
        return None
