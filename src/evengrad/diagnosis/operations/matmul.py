"""Product of matrices, or a convolution: its sums overflow, in float16 above 65,504."""

from __future__ import annotations

from evengrad.diagnosis.operands import code, half
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """Half precision, or values that have grown."""
    if half(fact):
        return msg("its sums overflow: float16 ends at 65,504")
    return msg("its sums overflow: what it was given has grown too large")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """Another type, or smaller factors."""
    if half(fact):
        wider = code(
            fact,
            frontend,
            "torch.autocast(device_type, dtype=torch.bfloat16)",
            'keras.mixed_precision.set_global_policy("mixed_bfloat16")',
        )
        here = code(fact, frontend, "q.float() @ k.float()", 'ops.cast(q, "float32")')
        return (
            msg("use bfloat16, which ends where float32 does: {wider}", wider=wider),
            msg(
                "or compute this product in float32 ({here}), or scale a factor before it: q / d ** 0.5 @ k",
                here=here,
            ),
        )
    return (
        msg(
            "normalise what it is given (a normalisation layer, standardised inputs), or scale it: x / d ** 0.5"
        ),
        msg("where it grows from step to step: a lower learning rate, or clip the gradient's norm"),
    )


def cause(fact: Fact) -> Cause | None:
    """Half precision's own fault where it is that."""
    return Cause.PRECISION if half(fact) else None
