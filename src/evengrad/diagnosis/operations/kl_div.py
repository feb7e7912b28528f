"""Kullback-Leibler divergence: it takes the logarithm of probabilities that are 0."""

from __future__ import annotations

import math

from evengrad.diagnosis.operands import code, low
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """-inf times 0, or the logarithm of a negative target."""
    if math.isfinite(low(fact)):
        return msg("a target below 0 has no logarithm: targets are probabilities")
    return msg("the logarithm of a probability of 0 is -inf, and 0 * inf is NaN")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """Log-probabilities from the logits, targets as probabilities."""
    cure = code(
        fact, frontend, "", "ops.sum(p * (ops.log_softmax(a, -1) - ops.log_softmax(b, -1)))"
    )
    clamped = code(fact, frontend, "q.clamp(min=1e-8).log()", "ops.log(ops.maximum(q, 1e-8))")
    return (
        code(
            fact,
            frontend,
            msg(
                "give its first argument as log-probabilities from the logits, its second as probabilities: "
                'F.kl_div(F.log_softmax(logits, -1), target, reduction="batchmean")'
            ),
            msg("take both from the logits: {cure}", cure=cure),
        ),
        msg("or keep the probabilities above 0 (a clamp): {clamped}", clamped=clamped),
    )
