"""Normalisation: of one sample or of equal ones it divides by 0; its squares overflow."""

from __future__ import annotations

from evengrad.diagnosis.operands import code, half
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """An overflow, or nothing that varies."""
    if fact.values.get("overflow") or half(fact):
        return msg("the squares in its variance overflow")
    return msg("the variance of one sample, or of equal ones, is 0, and its epsilon is too small")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """More samples, an epsilon, float32."""
    eps = code(fact, frontend, "eps=1e-5", "epsilon=1e-3")
    last = code(fact, frontend, "drop_last=True", "drop_remainder=True")
    return (
        msg(
            "give it more than one sample a channel ({last}, a larger batch), or a GroupNorm; keep {eps}",
            last=last,
            eps=eps,
        ),
        msg("compute it in float32: half precision overflows in its squares"),
    )


def cause(fact: Fact) -> Cause | None:
    """Half precision's own fault where it is that."""
    return Cause.PRECISION if half(fact) else None
