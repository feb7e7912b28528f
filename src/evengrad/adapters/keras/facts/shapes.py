"""Shapes of outputs and targets that broadcast in a loss which TensorFlow has traced."""

from __future__ import annotations

from typing import Any

from evengrad.adapters.keras.facts.graphs import before, place_of
from evengrad.values.fact import Fact

_COMPARING = {"Sub": "-", "SquaredDifference": "squared_difference", "Mul": "*"}


def broadcasting(target: Any) -> Fact | None:
    """Of a loss that is being traced: the operation that pairs every output with every target, if any."""
    for op in before(target):
        if op.type in _COMPARING and len(op.inputs) == 2:
            one, other = (_shape(t) for t in op.inputs)
            if one is not None and other is not None and pairs(one, other):
                reached = [_trained(t) for t in op.inputs]
                if reached[0] != reached[1]:
                    output, given = (one, other) if reached[0] else (other, one)
                    return _fact(op, output, given, reached[0])
    return None


def _shape(tensor: Any) -> list[Any] | None:
    return None if tensor.shape.rank is None else list(tensor.shape)


def pairs(one: list[Any], other: list[Any]) -> bool:
    """A vector of a batch against a column of it. Who pairs on purpose writes the same number of axes."""
    if {len(one), len(other)} != {1, 2}:
        return False
    vector, column = (one, other) if len(one) == 1 else (other, one)
    return column[1] == 1 and vector[0] != 1 and column[0] != 1 and vector[0] == column[0]


def _trained(tensor: Any) -> bool:
    """Whether weights have a part in it."""
    return any(op.type == "ReadVariableOp" for op in before(tensor))


def _fact(op: Any, output: list[Any], target: list[Any], first: bool) -> Fact:
    batch = output[0]
    values = {
        "function": _COMPARING[op.type],
        "output": _counted(output),
        "target": _counted(target),
        "result": _counted([batch, batch]),
        "first": first,
    }
    return Fact("shapes_broadcast", place_of(op), None, values)


def _counted(shape: list[Any]) -> list[Any]:
    """A length that is not known while it is traced is N."""
    return ["N" if n is None else n for n in shape]
