"""Division: by 0, or by what is so small that the quotient overflows."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, epsilon, hidden_keras, hidden_torch, operand, zeros
from evengrad.values.fact import Fact
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """By 0, or by something tiny."""
    if zeros(fact) > 0:
        return "a division by 0 is infinite, and 0 / 0 is NaN"
    return "the divisor is so small that the quotient overflows"


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """An epsilon in the divisor."""
    eps = epsilon(fact)
    if frontend == "keras":
        code = (
            f"a / ({operand(fact, 'b')} + {eps}), or a / ops.maximum({operand(fact, 'b')}, {eps})"
        )
        return (
            f"keep the divisor away from 0 (an epsilon or a clamp): {code}",
            *hidden_keras(fact),
        )
    code = f"a / ({operand(fact, 'b')} + {eps}), or a / {atom(fact, 'b')}.clamp(min={eps})"
    return (f"keep the divisor away from 0 (an epsilon or a clamp): {code}", *hidden_torch(fact))
