"""Arcsine: NaN outside of -1 to 1, and an infinite slope at both ends."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, code, half, hidden, high, low, operand
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """Outside, or at an end."""
    if low(fact) < -1 or high(fact) > 1:
        return msg("the arcsine of a number outside of -1 to 1 is NaN (a cosine is, by rounding)")
    return msg("the slope of the arcsine at -1 and 1 is infinite")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """A clamp inside, or the other formula."""
    eps, x = ("1e-3" if half(fact) else "1e-6"), operand(fact)
    cure = code(
        fact,
        frontend,
        f"torch.asin({atom(fact)}.clamp(-1 + {eps}, 1 - {eps}))",
        f"ops.arcsin(ops.clip({x}, -1 + {eps}, 1 - {eps}))",
    )
    angle = code(fact, frontend, "torch.atan2", "ops.arctan2")
    return (
        msg("keep its argument inside (a clamp): {cure}", cure=cure),
        msg(
            "for an angle between vectors: {angle}(norm of the cross product, dot product)",
            angle=angle,
        ),
        *hidden(fact, frontend),
    )
