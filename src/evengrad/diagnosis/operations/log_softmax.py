"""Logarithm of a softmax: NaN of a row that is masked throughout, -inf where one class is."""

from __future__ import annotations

from evengrad.diagnosis.operands import code, half, hidden
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """A whole row of -inf, or a class."""
    return msg(
        "a row of scores that are all -inf is 0 / 0, and a class with the score -inf has the logarithm -inf"
    )


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """A finite mask."""
    large = "-1e4" if half(fact) else "-1e9"
    cure = code(
        fact,
        frontend,
        f"F.log_softmax(scores.masked_fill(mask, {large}), -1)",
        f"ops.log_softmax(ops.where(mask, {large}, scores), axis=-1)",
    )
    return (
        msg(
            "mask with a large finite number, not with -inf, and keep one class of each row: {cure}",
            cure=cure,
        ),
        *hidden(fact, frontend),
    )
