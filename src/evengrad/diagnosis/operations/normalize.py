"""Division of a vector by its norm: of the vector 0 it is 0 / 0 where the epsilon is 0."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, code, half, hidden, operand
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """The vector 0."""
    if half(fact):
        return msg(
            "the norm of a vector of zeros is 0, and the epsilon 1e-12 is 0 in float16: 0 / 0"
        )
    return msg("a vector of zeros has no direction: its norm is 0, and the slope there 0 / 0")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """An epsilon that counts."""
    eps, x = ("1e-3" if half(fact) else "1e-6"), operand(fact)
    cure = code(
        fact,
        frontend,
        f"{atom(fact)} / ({atom(fact)}.square().sum(-1, keepdim=True) + {eps}).sqrt()",
        f"{atom(fact)} / ops.sqrt(ops.sum(ops.square({x}), axis=-1, keepdims=True) + {eps})",
    )
    larger = code(
        fact, frontend, f"F.normalize({x}, dim=-1, eps={eps})", f"ops.normalize({x}, epsilon={eps})"
    )
    return (
        msg(
            "use an epsilon that counts in this type: {larger}, or {cure}", larger=larger, cure=cure
        ),
        *hidden(fact, frontend),
    )
