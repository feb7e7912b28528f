"""Negative log-likelihood: of labels that are all ignored it is 0 / 0; variances and rates overflow."""

from __future__ import annotations

import math

from evengrad.diagnosis.operands import atom, code, low
from evengrad.values.fact import Fact
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """By which likelihood."""
    call = str(fact.values.get("call"))
    if "gaussian" in call:
        return "a variance of 0 is divided by, and its logarithm taken"
    if "poisson" in call:
        return "the exponential of the predicted log-rate overflows, or log(0) is taken"
    if math.isfinite(low(fact)) and fact.values.get("what") == "nan":
        return "every label of the batch is ignored (ignore_index): a mean over nothing is 0 / 0"
    return "the logarithm of a probability of 0 is -inf"


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """By which likelihood."""
    call = str(fact.values.get("call"))
    if "gaussian" in call:
        return ("keep the variance above 0: F.softplus(raw) + 1e-6, or predict the log-variance",)
    if "poisson" in call:
        return (f"bound the log-rate (a clamp): {atom(fact, 'log_rate')}.clamp(max=20)",)
    return (
        code(
            fact,
            frontend,
            'divide by the labels that count: F.nll_loss(log_probs, target, reduction="sum") / '
            "(target != -100).sum().clamp(min=1)",
            "divide by the labels that count: ops.sum(loss * mask) / ops.maximum(ops.sum(mask), 1)",
        ),
        code(
            fact,
            frontend,
            "take the log-probabilities from the logits: F.log_softmax(logits, dim=1)",
            "take the log-probabilities from the logits: ops.log_softmax(logits, axis=-1)",
        ),
    )
