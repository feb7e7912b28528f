"""Kullback-Leibler divergence: it takes the logarithm of probabilities that are 0."""

from __future__ import annotations

import math

from evengrad.diagnosis.operands import code, low
from evengrad.values.fact import Fact
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """-inf times 0, or the logarithm of a negative target."""
    if math.isfinite(low(fact)):
        return "a target below 0 has no logarithm: targets are probabilities"
    return "the logarithm of a probability of 0 is -inf, and 0 * inf is NaN"


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """Log-probabilities from the logits, targets as probabilities."""
    return (
        code(
            fact,
            frontend,
            "give its first argument as log-probabilities from the logits, its second as probabilities: "
            'F.kl_div(F.log_softmax(logits, -1), target, reduction="batchmean")',
            "take both from the logits: ops.sum(p * (ops.log_softmax(a, -1) - ops.log_softmax(b, -1)))",
        ),
        code(
            fact,
            frontend,
            "or keep the probabilities above 0 (a clamp): q.clamp(min=1e-8).log()",
            "or keep the probabilities above 0 (a clamp): ops.log(ops.maximum(q, 1e-8))",
        ),
    )
