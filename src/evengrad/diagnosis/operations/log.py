"""Logarithm: minus infinity at 0, where its slope is infinite, and NaN below."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, code, epsilon, hidden, in_loss, low, operand
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """Below 0, or at 0."""
    if low(fact) < 0:
        return msg("the logarithm of a negative number is NaN")
    return msg("the logarithm of 0 is -inf, and its slope there is infinite")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """A clamp; from the logits where it is a probability; before a loss of Keras, another end of the model."""
    if in_loss(fact):
        return (
            msg(
                '{call} reads predictions above 0: end the model in activation="softplus" or '
                '"exponential", not in a linear layer',
                call=fact.values["call"],
            ),
            msg(
                "for targets that may be negative use a loss for regression, such as mean_squared_error"
            ),
        )
    eps = epsilon(fact)
    cure = code(
        fact,
        frontend,
        f"torch.log({atom(fact)}.clamp(min={eps}))",
        f"ops.log(ops.maximum({operand(fact)}, {eps}))",
    )
    logits = code(
        fact,
        frontend,
        "F.log_softmax(logits, -1), F.logsigmoid(logits), F.cross_entropy(logits, y)",
        "ops.log_softmax(logits), ops.log_sigmoid(logits)",
    )
    if frontend != "torch":
        logits = msg("{logits}, or a loss with from_logits=True", logits=logits)
    return (
        msg("keep its argument above 0 (a clamp or an epsilon): {cure}", cure=cure),
        msg(
            "where it is the logarithm of a softmax or sigmoid, take it from the logits: {logits}",
            logits=logits,
        ),
        *hidden(fact, frontend),
    )
