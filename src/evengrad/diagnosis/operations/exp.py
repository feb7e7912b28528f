"""Exponential: it overflows above 88 in float32, above 11 in float16."""

from __future__ import annotations

from evengrad.diagnosis.operands import atom, code, half, hidden, operand
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Frontend


def why(fact: Fact) -> str:
    """It overflows."""
    end = msg("11 in float16") if half(fact) else msg("88 in float32")
    return msg("the exponential overflows above {end}", end=end)


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """A clamp, or what takes the logarithm of it in one."""
    end, x = ("10" if half(fact) else "80"), operand(fact)
    cure = code(
        fact,
        frontend,
        f"torch.exp({atom(fact)}.clamp(max={end}))",
        f"ops.exp(ops.minimum({x}, {end}))",
    )
    soft = code(fact, frontend, "F.softplus(x)", "ops.softplus(x)")
    together = code(fact, frontend, "torch.logsumexp(x, dim)", "ops.logsumexp(x, axis)")
    largest = code(fact, frontend, "x.amax(dim, keepdim=True)", "ops.max(x, axis, keepdims=True)")
    return (
        msg("bound its argument (a clamp), or normalise what it comes from: {cure}", cure=cure),
        msg(
            "where a logarithm follows: {soft} for log(1 + exp(x)), {together} for log(sum(exp(x))); where a "
            "division by the sum follows, subtract the largest first: x - {largest}",
            soft=soft,
            together=together,
            largest=largest,
        ),
        *hidden(fact, frontend),
    )
