"""Division: by 0, or by what is so small that the quotient overflows."""

from __future__ import annotations

import math

from evengrad.diagnosis.operands import atom, code, epsilon, hidden, low, operand, zeros
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

_ROOT = msg(
    "put the epsilon inside of the square root, sqrt(x + eps): its slope at 0 is infinite, and a gradient "
    "through it is NaN even where the quotient no longer is"
)


def why(fact: Fact) -> str:
    """By 0, or by something tiny."""
    unknown = math.isnan(low(fact)) and fact.values.get("what") == "nan"
    if zeros(fact) > 0 or unknown:
        return msg("a division by 0 is infinite, and 0 / 0 is NaN")
    return msg("the divisor is so small that the quotient overflows")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """An epsilon in the divisor; of what counts at least 1."""
    eps, b = epsilon(fact), operand(fact, "b")
    added = "" if low(fact) < 0 else f"a / ({b} + {eps})"
    clamped = code(
        fact, frontend, f"a / {atom(fact, 'b')}.clamp(min={eps})", f"a / ops.maximum({b}, {eps})"
    )
    signed = code(
        fact,
        frontend,
        f"torch.where({b} == 0, torch.full_like({b}, {eps}), {b})",
        f"ops.where({b} == 0, {eps}, {b})",
    )
    cure = msg("{added}, or {clamped}", added=added, clamped=clamped) if added else f"a / {signed}"
    one = code(fact, frontend, f"{atom(fact, 'b')}.clamp(min=1)", f"ops.maximum({b}, 1)")
    root = "sqrt(" in b
    counts = (
        (msg("where it counts elements (a mask's sum): a / {one}", one=one),)
        if "sum" in b and not root
        else ()
    )
    return (
        *((_ROOT,) if root else ()),
        msg("keep the divisor away from 0 (an epsilon or a clamp): {cure}", cure=cure),
        *counts,
        *hidden(fact, frontend),
    )
