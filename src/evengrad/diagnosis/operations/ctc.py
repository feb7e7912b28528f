"""CTC: a target that is longer than its input cannot be spelt, and its loss is infinite."""

from __future__ import annotations

from evengrad.diagnosis.operands import code
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """Too few steps."""
    return msg(
        "a target that is longer than its input's time steps cannot be spelt: its loss is infinite"
    )


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """More steps, shorter targets."""
    return (
        msg(
            "leave more time steps than a target has characters and repeats: less pooling or stride along time "
            "(width), longer inputs, or drop the targets that are longer than their input length"
        ),
        code(
            fact,
            frontend,
            msg(
                "F.ctc_loss(log_probs, targets, input_lengths, target_lengths, zero_infinity=True) skips a few"
            ),
            msg("give logit_length as what the network leaves, not as the input's own length"),
        ),
    )
