"""Logarithm of a sum of exponentials: -inf where all are -inf, and its slope is 0 / 0 there."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, code, half, hidden, operand
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """Nothing but -inf."""
    return msg("where all its elements are -inf the result is -inf, and its slope 0 / 0")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """A finite mask."""
    large = "-1e4" if half(fact) else "-1e9"
    cure = code(
        fact,
        frontend,
        f"torch.logsumexp({atom(fact)}.clamp(min={large}), -1)",
        f"ops.logsumexp(ops.maximum({operand(fact)}, {large}), axis=-1)",
    )
    return (
        msg("use a large finite number for what is masked, not -inf: {cure}", cure=cure),
        *hidden(fact, frontend),
    )
