"""EG911 clip of scaled gradients: they are clipped before the loss scale is taken off them.

What it finds: `clip_grad_norm_` or `clip_grad_value_` called on gradients that still carry a GradScaler's
factor.

Why it matters: the bound is meant for the true gradients. Those at hand are thousands of times larger, so the
clip always binds, and when the scale is taken off afterwards next to nothing is left: at a scale of 65,536 a
bound of 1 leaves a gradient of norm 0.000015. With SGD the training stands still. As the scale changes, so does
the true bound.

How it decides: exactly: the loss that made these gradients came out of `scaler.scale`, and no one has divided
them since. A bound that was multiplied by the scale is none.

What to do: call `scaler.unscale_(optimizer)` before the clip.

References: PyTorch documentation, automatic mixed precision examples: gradient clipping.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.probe import Frontend

CODE = "EG911"
FACT = "clipped_scaled"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 8)
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", enabled={enabled})
for step in range(12):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nn.functional.cross_entropy(model(x), y)
    scaler.scale(loss).backward()
    {clip}
    scaler.step(optimizer)
    scaler.update()
"""
_NORM = "nn.utils.clip_grad_norm_(model.parameters(), {bound})"


def _loop(clip: str, verb: str = "run", enabled: bool = True) -> Program:
    return Program(
        "torch", _LOOP.format(clip=clip, enabled=enabled), "check" if verb == "check" else "run"
    )


SICK = (
    _loop(_NORM.format(bound="1.0")),
    _loop(_NORM.format(bound="1.0"), "check"),
    _loop("nn.utils.clip_grad_value_(model.parameters(), 0.5)"),
)
HEALTHY = (
    _loop("scaler.unscale_(optimizer); " + _NORM.format(bound="1.0")),
    _loop("scaler.unscale_(optimizer); " + _NORM.format(bound="1.0"), "check"),
    _loop(_NORM.format(bound="scaler.get_scale()")),
    _loop(_NORM.format(bound="1.0"), enabled=False),
    _loop(
        "[p.grad.div_(scaler.get_scale()) for p in model.parameters()]; "
        + _NORM.format(bound="65536.0")
    ),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire on each clip."""
    for fact in facts:
        optimizer, values = fact.values["optimizer"], fact.values
        bound, scale = values["bound"], values["scale"]
        yield Finding(
            CODE,
            f"the clip at {bound:g} sees gradients that are still scaled by {scale:g}: what it leaves has norm "
            f"{bound / scale:.2g}",
            Cause.PRECISION,
            Severity.ERROR,
            evidence=(
                f"{fact.where or 'the clip'} comes before scaler.unscale_({optimizer})",
                f"the norm that it clips is {values['norm']:.3g}; without the loss scale it is "
                f"{values['unscaled']:.3g}",
            ),
            advice=(f"call scaler.unscale_({optimizer}) before the clip",),
            where=fact.where,
            mistake=True,
        )
