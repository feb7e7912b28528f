"""Binary cross-entropy: on probabilities it takes the logarithm of 0."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, code, half, operand
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """Of logits, an infinity; of probabilities, a logarithm of 0."""
    if "logits" in str(fact.values.get("call")):
        return msg("a logit is infinite")
    return msg("a probability of exactly 0 or 1 has a logarithm of -inf, or a slope of 1 / 0")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """Logits, else a clamp."""
    eps, p = ("1e-3" if half(fact) else "1e-6"), operand(fact, "p")
    cure = code(
        fact,
        frontend,
        f"{atom(fact, 'p')}.clamp({eps}, 1 - {eps})",
        f"ops.clip({p}, {eps}, 1 - {eps})",
    )
    return (
        code(
            fact,
            frontend,
            msg(
                "let the loss read logits, without a sigmoid before it: "
                "F.binary_cross_entropy_with_logits(logits, target)"
            ),
            msg(
                "let the loss read logits, without a sigmoid before it: BinaryCrossentropy(from_logits=True)"
            ),
        ),
        msg("or keep it away from 0 and 1 (a clamp): {cure}", cure=cure),
    )
