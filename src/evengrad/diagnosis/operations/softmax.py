"""Softmax: of a row that is masked throughout it is NaN."""

from __future__ import annotations

from evengrad.diagnosis.operands import code, half, hidden
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """A whole row of -inf, or an infinite score."""
    if fact.values.get("overflow"):
        return msg("a score is infinite")
    return msg("a row that is masked throughout (all scores -inf) has nothing to normalise: 0 / 0")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """A finite mask, or a key that stays."""
    large = "-1e4" if half(fact) else "-1e9"
    cure = code(
        fact,
        frontend,
        f"scores.masked_fill(mask, {large})",
        f"ops.where(mask, {large}, scores)",
    )
    keep = code(
        fact, frontend, "mask[..., 0] = False", msg("a mask that lets the first key through")
    )
    return (
        msg("mask with a large finite number, not with -inf: {cure}", cure=cure),
        msg(
            "or keep at least one key of each row ({keep}), and leave such rows out of the loss; nan_to_num "
            "afterwards mends the value, not the gradient",
            keep=keep,
        ),
        *hidden(fact, frontend),
    )
