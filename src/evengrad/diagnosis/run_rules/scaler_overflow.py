"""EG808 loss scaler overflow: half precision skips more steps than its search for a scale explains.

What it finds: a GradScaler or LossScaleOptimizer that keeps skipping steps, or whose scale fell below 1.

Why it matters: each skipped step trains nothing, silently; a scale below 1 means that the gradients themselves,
not the scaled ones, overflow in float16, or that some are NaN in any precision.

How it decides: a scaler that starts at 65,536 skips ceil(log2(65536 max|g| / 65504)) steps until it fits, and
then at most two in each 2,000 (it tries a doubled scale once in that many). Three or more beyond that (measured
choice), or a scale below 1, are real overflow (docs/theory.md, Precision). Those first skips give no finding.

What to do: bfloat16, which has the range of float32; or keep the layer at the origin in float32; or lower the
gradients at their source.

References: Micikevicius 2018 (1710.03740).
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.readings import events_of_kind
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.run import EventKind, Run
from evengrad.values.wording import percent

CODE = "EG808"
SICK = (
    Scenario(skips=tuple(range(100, 160, 4))),
    Scenario(steps=100, skips=tuple(range(30)), scale=0.5),
)
HEALTHY = (Scenario(), Scenario(skips=(0, 1, 2)), Scenario(skips=(0, 1, 300)))
_FEW = 3


def check(run: Run) -> Iterable[Finding]:
    """Fire where the scaler's watch called a skip real overflow."""
    events = events_of_kind(run, EventKind.SCALER)
    real = [event for event in events if event.values.get("verdict") == "overflow"]
    lowest = min((float(event.values.get("scale", 1.0)) for event in real), default=1.0)
    if len(real) < _FEW and lowest >= 1:
        return
    skipped = int((run.steps["applied"] == 0).sum())
    share = percent(skipped / max(len(run.steps["step"]), 1))
    yield Finding(
        CODE,
        msg(
            "the gradients overflow in half precision: {share} of the steps were skipped",
            share=share,
        ),
        Cause.PRECISION,
        Severity.ERROR if lowest < 1 else Severity.WARNING,
        evidence=(
            msg(
                "{number} skips from step {step} on are more than the scaler's own search",
                number=len(real),
                step=real[0].step,
            ),
            msg("the smallest scale at such a skip was {lowest:g}", lowest=lowest),
        ),
        advice=(
            msg("use bfloat16, which has the range of float32"),
            msg("or keep the layer where it overflows in float32"),
        ),
        explained_by=(Cause.BAD_BATCH,),
    )
