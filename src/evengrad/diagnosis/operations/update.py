"""The optimizer's update: from finite gradients to weights that are not finite."""

from __future__ import annotations

from evengrad.diagnosis.operands import code, half
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """An epsilon that is 0 there, or a step that overflows."""
    if half(fact):
        eps = fact.values.get("eps")
        said = msg("eps {eps:g}", eps=eps) if isinstance(eps, int | float) else "eps"
        return msg(
            "the optimizer's {said} is 0 in float16, and where a gradient is 0 the update is 0 / 0",
            said=said,
        )
    if fact.values.get("eps") == 0:
        return msg("with eps=0 the update of a gradient of 0 is 0 / 0")
    return msg("the update is larger than its type can hold")


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """float32 weights, or an eps that counts."""
    if half(fact):
        return (
            code(
                fact,
                frontend,
                msg(
                    "keep the weights in float32 and let autocast choose what is half: model.float(), "
                    "torch.autocast(device_type, dtype=torch.float16) and torch.amp.GradScaler()"
                ),
                msg(
                    "keep the weights in float32: "
                    'keras.mixed_precision.set_global_policy("mixed_float16"), not '
                    'keras.config.set_floatx("float16")'
                ),
            ),
            code(
                fact,
                frontend,
                msg(
                    "or give the optimizer an eps that float16 can hold, eps=1e-4, or use bfloat16"
                ),
                msg(
                    "or give the optimizer an epsilon that float16 can hold, epsilon=1e-4, or use bfloat16"
                ),
            ),
        )
    if fact.values.get("eps") == 0:
        return (
            code(fact, frontend, msg("give the optimizer eps=1e-8"), msg("give it epsilon=1e-7")),
        )
    rate = fact.values.get("rate")
    now = msg(" (now {rate:g})", rate=rate) if isinstance(rate, int | float) else ""
    return (msg("lower the learning rate{now}, or clip the gradient's norm", now=now),)


def cause(fact: Fact) -> Cause | None:
    """The type's, else the rate's."""
    return Cause.PRECISION if half(fact) else Cause.LEARNING_RATE
