"""Logarithm of 1 + x: minus infinity at -1, NaN below."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, code, half, hidden, low, operand
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """Below -1, or at -1."""
    if low(fact) < -1:
        return msg("the logarithm of a negative number is NaN: its argument is below -1")
    return msg("at -1 it is the logarithm of 0, -inf with an infinite slope")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """A clamp above -1."""
    eps, x = ("1e-3" if half(fact) else "1e-6"), operand(fact)
    cure = code(
        fact,
        frontend,
        f"torch.log1p({atom(fact)}.clamp(min=-1 + {eps}))",
        f"ops.log1p(ops.maximum({x}, -1 + {eps}))",
    )
    return (msg("keep its argument above -1 (a clamp): {cure}", cure=cure), *hidden(fact, frontend))
