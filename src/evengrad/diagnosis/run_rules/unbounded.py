"""EG812 loss without a floor: it falls far below zero, and goes on falling.

What it finds: a cross-entropy or an error that is negative, which none can be whose labels are in range; or any
other loss that fell to many times its first size below zero and still falls.

Why it matters: such a loss has no minimum. The outputs grow for ever, and a loss that falls looks like success.

How it decides: where the loss function is known, the mean of the last quarter below zero, at 99%: it is never
negative for labels between 0 and 1, nor an error for any. Where it is not, the last quarter lies below zero by
more than ten times the largest loss of the first tenth, and still falls at 99% (measured choices: a
log-likelihood, a margin or a score may be negative, but comes to rest). Two trainings that take turns (a
Wasserstein GAN's) are not judged.

What to do: bring labels, targets or masks to what the loss expects: 0 to 1 for a binary cross-entropy (divide
masks of 0 and 255 by 255; turn -1 into 0), rows that sum to 1 for a cross-entropy. For prices and other
quantities take a mean squared error and no sigmoid at the end.

References: docs of torch.nn.BCEWithLogitsLoss and keras.losses.BinaryCrossentropy: "between 0 and 1".
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.learning import end, judged, still_falling
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.run import Run

CODE = "EG812"
SICK = (
    Scenario(loss="unbounded", objective="binary_crossentropy", targets=255.0),
    Scenario(loss="unbounded", steps=200),
)
HEALTHY = (
    Scenario(),
    Scenario(loss="flat", first_loss=-300.0),
    Scenario(loss="unbounded", interleaved=True),
)
_KNOWN = {"crossentropy", "binary_crossentropy", "mse", "mae"}
_FAR = 10.0


def check(run: Run) -> Iterable[Finding]:
    """Fire where it is negative and must not be, or falls for ever."""
    loss = judged(run)
    if loss is None or not (last := end(loss)).high < 0:
        return
    kinds = set(run.seen.get("objective", ()))
    known = bool(kinds) and kinds <= _KNOWN
    first = float(np.abs(loss[: max(len(loss) // 10, 5)]).max())
    if not known and not (last.mean < -_FAR * first and still_falling(loss)):
        return
    what = (
        msg("a cross-entropy of labels in range is never negative")
        if known
        else msg("nothing bounds it from below")
    )
    yield Finding(
        CODE,
        msg(
            "the loss falls without bound: {mean:.3g} at the end, and {what}",
            mean=last.mean,
            what=what,
        ),
        Cause.LOSS_HEAD,
        Severity.ERROR if known else Severity.WARNING,
        symptom=Symptom.UNFIT_HEAD,
        unhealthy=True,
        evidence=(*_targets(run), msg("it began at {loss:.3g}, and goes on falling", loss=loss[0])),
        advice=(
            msg(
                "bring labels, targets or masks into the range that the loss expects: 0 to 1 for a binary "
                "cross-entropy (divide masks of 0 and 255 by 255; turn -1 into 0)"
            ),
            msg(
                "for prices and other quantities take a mean squared error, and no sigmoid at the end"
            ),
        ),
    )


def _targets(run: Run) -> tuple[str, ...]:
    low, high = run.seen.get("target_low"), run.seen.get("target_high")
    if high is None:
        return ()
    return (
        msg(
            "the targets go {begin}up to {high:.4g}",
            begin=msg("from {low:.4g} ", low=low) if low is not None else "",
            high=high,
        ),
    )
