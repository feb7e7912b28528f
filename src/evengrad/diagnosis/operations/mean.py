"""Mean: of an empty selection it is 0 / 0; in float16 its sum overflows."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, code, operand
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """Nothing, or too much."""
    if fact.values.get("overflow"):
        return msg("the sum that it divides overflows")
    return msg("the mean of an empty selection is 0 / 0")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """At least 1 in the divisor; a wider type."""
    x = operand(fact)
    if fact.values.get("overflow"):
        cure = code(
            fact, frontend, f"{atom(fact)}.float().mean()", f'ops.mean(ops.cast({x}, "float32"))'
        )
        return (msg("compute it in float32: {cure}", cure=cure),)
    cure = code(
        fact,
        frontend,
        f"{atom(fact)}.sum() / max({atom(fact)}.numel(), 1)",
        f"ops.sum({x}) / ops.maximum(ops.size({x}), 1)",
    )
    masked = code(
        fact,
        frontend,
        "(x * mask).sum() / mask.sum().clamp(min=1)",
        "ops.sum(x * mask) / ops.maximum(ops.sum(mask), 1)",
    )
    return (
        msg("divide by the number of elements, at least 1: {cure}", cure=cure),
        msg("or multiply by the mask: {masked}", masked=masked),
    )
