"""Variance: of one element it is 0 / 0."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, backward, code, hidden, operand
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """One element, or an overflow."""
    if _single(fact):
        return msg("the variance of a single element is 0 / 0: it divides by N - 1")
    return msg("the squares of the elements overflow")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """More elements, or the formula that bears one."""
    x = operand(fact)
    if _single(fact):
        cure = code(
            fact,
            frontend,
            f"{atom(fact)}.var(unbiased=False)",
            f"ops.var({x}, axis=0)",
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
        f"{atom(fact)}.double().var(unbiased=False)",
        f'ops.var(ops.cast({x}, "float64"), axis=0)',
    )
    return (msg("compute it in a wider type: {cure}", cure=cure), *hidden(fact, frontend))


def _single(fact: Fact) -> bool:
    return not backward(fact) and not fact.values.get("overflow")
