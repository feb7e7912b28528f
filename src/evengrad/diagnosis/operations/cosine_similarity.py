"""Cosine: it divides by norms, and a vector of zeros has none."""

from __future__ import annotations

from evengrad.diagnosis.operands import code, half, hidden
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """The vector 0."""
    if half(fact):
        return msg(
            "a vector of zeros has no direction, and the epsilon 1e-8 is 0 in float16: 0 / 0"
        )
    return msg("a vector of zeros has no direction: its norm is 0, and the slope there 0 / 0")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """An epsilon that counts."""
    eps = "1e-3" if half(fact) else "1e-6"
    pair = "a.float(), b.float()" if half(fact) else "a, b"
    cure = code(
        fact,
        frontend,
        f"F.cosine_similarity({pair}, dim=-1, eps={eps})",
        f"a / ops.sqrt(ops.sum(ops.square(a), axis=-1, keepdims=True) + {eps})",
    )
    return (
        msg("normalise both with an epsilon that counts: {cure}", cure=cure),
        *hidden(fact, frontend),
    )
