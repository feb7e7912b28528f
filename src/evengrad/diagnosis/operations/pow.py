"""Power: a fractional exponent of a negative number is NaN, one below 1 has an infinite slope at 0."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, code, epsilon, half, hidden, low, operand, zeros
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """An overflow, a negative base, or the slope at 0."""
    if fact.values.get("overflow") and not zeros(fact):
        return msg("the power is larger than its type can hold")
    if low(fact) < 0:
        return msg("a fractional power of a negative number is NaN")
    return msg("with an exponent below 1 the value or the slope at 0 is infinite")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """Keep the base above 0, or smaller."""
    eps, x = epsilon(fact), operand(fact)
    if fact.values.get("overflow") and not zeros(fact):
        end = "1e2" if half(fact) else "1e15"
        cure = code(
            fact,
            frontend,
            f"{atom(fact)}.clamp(-{end}, {end})",
            f"ops.clip({x}, -{end}, {end})",
        )
        return (
            msg("bound its base (a clamp), or normalise what it comes from: {cure}", cure=cure),
        )
    cure = code(
        fact,
        frontend,
        f"{atom(fact)}.clamp(min={eps}) ** p",
        f"ops.power(ops.maximum({x}, {eps}), p)",
    )
    return (
        msg("keep its base above 0 (a clamp or an epsilon): {cure}", cure=cure),
        *hidden(fact, frontend),
    )
