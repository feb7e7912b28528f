"""Reciprocal square root: infinite at 0, NaN below."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, code, epsilon, hidden, low, operand
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """Below 0, or at 0."""
    if low(fact) < 0:
        return msg("the square root of a negative number is NaN")
    return msg("one over the square root of 0 is infinite")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """A clamp."""
    eps, x = epsilon(fact), operand(fact)
    cure = code(
        fact,
        frontend,
        f"torch.rsqrt({atom(fact)}.clamp(min={eps}))",
        f"ops.rsqrt(ops.maximum({x}, {eps}))",
    )
    return (
        msg("keep its argument above 0 (a clamp or an epsilon): {cure}", cure=cure),
        *hidden(fact, frontend),
    )
