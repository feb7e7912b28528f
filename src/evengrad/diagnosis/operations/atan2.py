"""Angle of a point: undefined at the origin, where its gradient is 0 / 0."""

from __future__ import annotations

from evengrad.diagnosis.operands import code, hidden
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """The origin."""
    return msg("at the origin (both arguments 0) its gradient is 0 / 0")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """Away from the origin, before the operation."""
    cure = code(
        fact,
        frontend,
        "torch.atan2(y, torch.where((x == 0) & (y == 0), torch.ones_like(x), x))",
        "ops.arctan2(y, ops.where(ops.logical_and(x == 0, y == 0), ops.ones_like(x), x))",
    )
    return (msg("move the origin before the operation: {cure}", cure=cure), *hidden(fact, frontend))
