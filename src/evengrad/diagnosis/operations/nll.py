"""Negative log-likelihood: of labels that are all ignored it is 0 / 0; variances and rates overflow."""

from __future__ import annotations

import math

from evengrad.diagnosis.operands import atom, code, low
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """By which likelihood."""
    call = str(fact.values.get("call"))
    if "gaussian" in call:
        return msg("a variance of 0 is divided by, and its logarithm taken")
    if "poisson" in call:
        return msg("the exponential of the predicted log-rate overflows, or log(0) is taken")
    if math.isfinite(low(fact)) and fact.values.get("what") == "nan":
        return msg(
            "every label of the batch is ignored (ignore_index): a mean over nothing is 0 / 0"
        )
    return msg("the logarithm of a probability of 0 is -inf")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """By which likelihood."""
    call = str(fact.values.get("call"))
    if "gaussian" in call:
        return (
            msg("keep the variance above 0: F.softplus(raw) + 1e-6, or predict the log-variance"),
        )
    if "poisson" in call:
        return (
            msg("bound the log-rate (a clamp): {atom}.clamp(max=20)", atom=atom(fact, "log_rate")),
        )
    mean = code(
        fact,
        frontend,
        'F.nll_loss(log_probs, target, reduction="sum") / (target != -100).sum().clamp(min=1)',
        "ops.sum(loss * mask) / ops.maximum(ops.sum(mask), 1)",
    )
    logits = code(
        fact, frontend, "F.log_softmax(logits, dim=1)", "ops.log_softmax(logits, axis=-1)"
    )
    return (
        msg("divide by the labels that count: {mean}", mean=mean),
        msg("take the log-probabilities from the logits: {logits}", logits=logits),
    )
