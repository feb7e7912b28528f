"""Embedding: an id that has no row."""

from __future__ import annotations

import math

from evengrad.diagnosis.operands import code, high
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """Out of range, where the framework fills it with NaN."""
    if math.isfinite(high(fact)):
        return msg(
            "ids go up to {high:g}: one without a row is filled with NaN, or its row holds a NaN",
            high=high(fact),
        )
    return msg("an id without a row is filled with NaN, or its row holds a NaN")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """As many rows as ids."""
    rows = f"{high(fact) + 1:.0f}" if math.isfinite(high(fact)) else "max_id + 1"
    return (
        code(
            fact,
            frontend,
            msg("give it a row an id, from 0 on: nn.Embedding({rows}, dim)", rows=rows),
            msg(
                "give it a row an id, from 0 on: layers.Embedding(input_dim={rows}, output_dim=dim)",
                rows=rows,
            ),
        ),
        msg("or map unknown ids to one of their own when the data is made"),
    )
