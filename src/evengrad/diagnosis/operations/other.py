"""Any operation that has no entry of its own."""

from __future__ import annotations

from evengrad.diagnosis.operands import backward, hidden_keras, hidden_torch
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """What is known without knowing the operation."""
    if fact.values.get("overflow"):
        return msg("its result is larger than its type can hold")
    if backward(fact):
        return msg("its slope is infinite or undefined for what it was given")
    return msg("it is not defined for what it was given")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """Keep the argument inside."""
    hidden = hidden_keras(fact) if frontend == "keras" else hidden_torch(fact)
    clamp = {"keras": "ops.clip", "jax": "jnp.clip"}.get(frontend, ".clamp(min=..., max=...)")
    return (
        msg(
            "keep its argument where the operation and its slope are finite: {clamp}, or an epsilon",
            clamp=clamp,
        ),
        *hidden,
    )
