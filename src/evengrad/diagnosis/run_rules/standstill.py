"""EG809 loss that does not move: after many steps it is where it began.

What it finds: a loss that has not fallen, where the noise is small enough to say so.

Why it matters: time is spent and nothing is learnt.

How it decides: as a test of equivalence, so that silence needs no proof but the finding does. The level at the
start is the mean of the first 20 losses, or the first tenth of them, the one at the end the mean of the last
fifth; the standard error comes from the scatter of the last fifth and of the means of ten blocks in it,
whichever is larger, so that noise that lasts over many steps counts. It fires when even the upper 99% limit of
the fall is below 2% of the level at the start and its lower limit below 0, over at least 200 steps (the 2% is a
measured choice). A noisy run gives no finding; nor does one that falls slowly but surely, nor one that fell
fast and stays low, since its first losses stand out.

What to do: where no gradient is left at all, the model has come where every path to the loss is flat: the
first steps were too large, or the loss is clipped. Where the first layer's gradient is a thousandth of the
last one's it vanishes: `evengrad check` says why. Else by the size of the updates. Far below 1e-4 of the
weights: raise the rate. Above 1e-1: lower it. Of usual size: what the batches teach cancels out; check whether
the labels belong to their inputs, whether the model gets its inputs at all (`evengrad check`), and try to
overfit one single batch.

References: two one-sided tests, Schuirmann 1987; TheDeepChecker (2204.00694).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.readings import (
    first_to_last,
    losses,
    matrices,
    medians,
    ratios,
    tensor_figure,
)
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.run import Floats, Run

CODE = "EG809"
SICK = (
    Scenario(loss="flat", steps=1000, noise=0.01),
    Scenario(loss="flat", noise=0.01, ratio=1e-7),
    Scenario(loss="flat", noise=0.01, ratio=0.5),
    Scenario(loss="flat", noise=0.01, norm=0.0),
)
HEALTHY = (
    Scenario(),
    Scenario(loss="flat", noise=0.9),
    Scenario(loss="flat", steps=150),
    Scenario(loss="rises", noise=0.02),
)
_FIRST, _LEAST, _SMALL, _Z = 20, 200, 0.02, 2.33


def check(run: Run) -> Iterable[Finding]:
    """Fire where a fall of 2% can be ruled out."""
    loss = losses(run)[1]
    if len(loss) < _LEAST:
        return
    start, end, error = levels(loss)
    fall = start - end
    small = fall + _Z * error < _SMALL * abs(start)
    if start == 0 or not small or fall - _Z * error > 0 or end > 2 * abs(start):
        return
    cause, fact, advice = _why(run)
    yield Finding(
        CODE,
        f"the loss does not move: {start:.4g} at the start, {end:.4g} after {len(loss)} steps",
        cause,
        Severity.ERROR,
        symptom=Symptom.STANDING_STILL,
        evidence=(
            f"the fall is {fall:.2g}, give or take {_Z * error:.2g} (99%)",
            *fact,
        ),
        advice=advice,
        explained_by=tuple(c for c in Cause if c is not Cause.PRECISION),
    )


def levels(loss: Floats) -> tuple[float, float, float]:
    """The level of the first losses, of the last fifth, and the standard error of their difference."""
    first, last = loss[: max(_FIRST, len(loss) // 10)], loss[-(len(loss) // 5) :]
    scatter = float(np.std(last, ddof=1))
    blocks = [float(block.mean()) for block in np.array_split(last, 10)]
    lasting = float(np.std(blocks, ddof=1)) / math.sqrt(10)
    end = max(scatter / math.sqrt(len(last)), lasting)
    # What lasts over a block is not averaged out in the first losses either.
    start = math.hypot(max(scatter, float(np.std(first, ddof=1))) / math.sqrt(len(first)), lasting)
    return float(first.mean()), float(last.mean()), math.hypot(start, end)


def _why(run: Run) -> tuple[Cause, list[str], tuple[str, ...]]:
    """By what is left of the gradient, then by the size of the updates, the last ten times that they were
    observed.
    """
    norms = run.steps["norm"]
    if (norms[-(len(norms) // 5) :] == 0).all():
        return _flat(run)
    ratio = medians(ratios(run)[1][-10:])[matrices(run)]
    ratio = ratio[np.isfinite(ratio)]
    if not len(ratio):
        return Cause.INPUT_DATA, [], _look()
    size = float(np.median(ratio))
    fact = [f"an update is {size:.2g} of its weights (usual: 1e-4 to 1e-1)"]
    left = first_to_last(tensor_figure(run, "gradient_rms")[1][-10:], matrices(run))
    if left < 1e-3:
        fact.append(f"the first layer's gradient is {left:.2g} of the last one's: it vanishes")
        return (
            Cause.ACTIVATION,
            fact,
            ("evengrad check the script: it names why the gradient fades",),
        )
    if size < 1e-5:
        return Cause.LEARNING_RATE, fact, ("raise the learning rate tenfold, and see",)
    if size > 0.1:
        return Cause.LEARNING_RATE, fact, ("lower the learning rate tenfold, and see",)
    return Cause.INPUT_DATA, fact, _look()


def _flat(run: Run) -> tuple[Cause, list[str], tuple[str, ...]]:
    """No gradient at all, since some step or ever."""
    moved = np.flatnonzero(run.steps["norm"] > 0)
    if not len(moved):
        return (
            Cause.LOSS_HEAD,
            ["no gradient left the loss in any step: it is exactly 0"],
            ("evengrad check the script: it names where the gradient ends",),
        )
    last = int(run.steps["step"][moved[-1]])
    return (
        Cause.LEARNING_RATE,
        [f"since step {last + 1} the gradient is exactly 0: nothing can change any more"],
        (
            f"lower the learning rate at least tenfold and start anew: the steps up to {last} drove the model "
            "where its outputs are saturated or its units dead",
            "evengrad check the script: weights that are too large at the start do the same",
        ),
    )


def _look() -> tuple[str, ...]:
    return (
        "try to overfit one single batch; if that works, check whether labels belong to their inputs",
        "evengrad check the script: it finds dead units, loss heads and inputs that do not fit",
    )
