"""Standard deviation: of one element it is 0 / 0, and of equal ones it has no slope."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, backward, code, epsilon, hidden, operand
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """One element, or equal ones."""
    if _single(fact):
        return msg("the standard deviation of a single element is 0 / 0: it divides by N - 1")
    return msg("the slope of a standard deviation of equal elements is 0 / 0")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """More elements, or the formula that bears them."""
    eps, x = epsilon(fact), operand(fact)
    if _single(fact):
        cure = code(
            fact,
            frontend,
            f"{atom(fact)}.std(unbiased=False)",
            f"ops.std({x}, axis=0)",
        )
        return (
            msg(
                "take it over more than one sample: a larger batch, drop_last=True, or the right axis"
            ),
            msg(
                "or divide by N, not N - 1: {cure}, and add an epsilon before you divide by it",
                cure=cure,
            ),
        )
    cure = code(
        fact,
        frontend,
        f"({atom(fact)}.var(unbiased=False) + {eps}).sqrt()",
        f"ops.sqrt(ops.var({x}, axis=0) + {eps})",
    )
    return (
        msg("write it with an epsilon inside the root: {cure}", cure=cure),
        *hidden(fact, frontend),
    )


def _single(fact: Fact) -> bool:
    return not backward(fact) and not fact.values.get("overflow")
