"""Cross-entropy: of labels that are all ignored it is 0 / 0, of the score -inf infinite."""

from __future__ import annotations

import math

from evengrad.diagnosis.operands import code, low
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """No label, an infinite score, or a logarithm of 0."""
    if math.isfinite(low(fact)) and fact.values.get("what") == "nan":
        return msg(
            "every label of the batch is ignored (ignore_index): a mean over nothing is 0 / 0"
        )
    return msg(
        "a class whose score is -inf (masked), or whose probability is 0, has an infinite loss"
    )


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """Divide by the labels that count; finite scores."""
    mean = code(fact, frontend, "", "ops.sum(loss * mask) / ops.maximum(ops.sum(mask), 1)")
    keras = msg(
        "let the loss read logits (from_logits=True), end in a layer without softmax, and divide by the labels "
        "that count: {mean}",
        mean=mean,
    )
    torch = msg(
        "divide by the labels that count, or skip such a batch: F.cross_entropy(logits, target, "
        'ignore_index=-100, reduction="sum") / (target != -100).sum().clamp(min=1)'
    )
    mask = code(
        fact,
        frontend,
        "scores.masked_fill(mask, -1e4)",
        "ops.where(mask, -1e4, scores)",
    )
    return (
        code(fact, frontend, torch, keras),
        msg(
            "mask scores with a large finite number, not with -inf (label_smoothing reads every class): {mask}",
            mask=mask,
        ),
    )
