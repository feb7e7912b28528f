"""Square root: NaN below 0, and an infinite slope at 0."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, code, epsilon, hidden, low, operand
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """Below 0, or at 0."""
    if low(fact) < 0:
        return msg("the square root of a negative number is NaN")
    return msg("the slope of a square root at 0 is infinite, and inf * 0 is NaN")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """Clamp below 0, else add an epsilon inside the root."""
    eps, x = epsilon(fact), operand(fact)
    torch = f"torch.sqrt({atom(fact)}.clamp(min={eps}))"
    if low(fact) >= 0:
        torch = f"torch.sqrt({x} + {eps})"
    cure = code(fact, frontend, torch, f"ops.sqrt(ops.maximum({x}, {eps}))")
    return (
        msg("keep its argument above 0 (a clamp or an epsilon): {cure}", cure=cure),
        *hidden(fact, frontend),
    )
