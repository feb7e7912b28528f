"""Sum or product of elements: it overflows."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, code, half, operand
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """It overflows."""
    end = msg(": float16 ends at 65,504") if half(fact) else ""
    return msg("the total is larger than its type can hold{end}", end=end)


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """A wider type, a mean, or logarithms."""
    wider = code(
        fact,
        frontend,
        f"{atom(fact)}.float().sum()" if half(fact) else f"{atom(fact)}.double().sum()",
        f'ops.sum(ops.cast({operand(fact)}, "{"float32" if half(fact) else "float64"}"))',
    )
    return (
        msg(
            "compute it in a wider type: {wider}; or take the mean, which does not grow with their number",
            wider=wider,
        ),
        msg("for a product of many factors add their logarithms"),
    )


def cause(fact: Fact) -> Cause | None:
    """Half precision's own fault where it is that."""
    return Cause.PRECISION if half(fact) else None
