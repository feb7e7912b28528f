"""Norm: its slope at 0 is 0 / 0, and its squares overflow before it does."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, code, epsilon, hidden, operand
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """An overflow, or the vector 0."""
    if fact.values.get("overflow"):
        return msg("the squares of the elements overflow")
    return msg("the slope of a norm at the vector 0 is 0 / 0")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """The square root with an epsilon inside."""
    x = operand(fact)
    if fact.values.get("overflow"):
        cure = code(
            fact,
            frontend,
            f"{atom(fact)}.double().norm()",
            f'ops.norm(ops.cast({x}, "float64"))',
        )
        return (msg("compute it in a wider type, or scale what it comes from: {cure}", cure=cure),)
    eps = epsilon(fact)
    cure = code(
        fact,
        frontend,
        f"({atom(fact)}.square().sum(-1) + {eps}).sqrt()",
        f"ops.sqrt(ops.sum(ops.square({x}), axis=-1) + {eps})",
    )
    return (
        msg("write it with an epsilon inside the root (a clamp does it, too): {cure}", cure=cure),
        *hidden(fact, frontend),
    )
