"""EG809 loss that does not move: after many steps it is where it began.

What it finds: a loss that has not fallen, where the noise is small enough to say so.

Why it matters: time is spent and nothing is learnt.

How it decides: as a test of equivalence, so that silence needs no proof but the finding does. The level at the
start is the mean of the first 20 losses, or the first tenth of them (the first 10 of a run below 100), the one
at the end the mean of the last fifth; the standard error comes from the scatter of the last fifth and of the
means of ten blocks in it, whichever is larger, so that noise that lasts over many steps counts. It fires when
even the upper 99% limit of the fall is below 2% of the level at the start and its lower limit below 0 (or the
updates below 1e-5 of the weights: what falls with them comes nowhere), over at
least 40 steps where inputs, updates or gradients say why, else over 200 (both measured choices, as the 2%). A
noisy run gives no finding; nor does one that falls slowly but surely, nor one that fell fast and stays low,
since its first losses stand out. Where the loss of the best constant answer is known, EG810 compares with
that. Trainings that take turns (a GAN's) are not judged: their losses need not fall.

What to do: where no gradient is left at all, the model has come where every path to the loss is flat: the
first steps were too large, or the loss is clipped. Inputs of a root mean square above 10: normalise them. Where
the first layer's gradient is a thousandth of the last one's it vanishes: `evengrad check` says why. Else by the
size of the updates. Far below 1e-4 of the
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
from evengrad.diagnosis.learning import (
    UNEXPLAINED,
    baseline,
    judged,
    loose,
    reason,
    takes_either_sign,
)
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.run import Floats, Run

CODE = "EG809"
SICK = (
    Scenario(loss="flat", steps=1000, noise=0.01),
    Scenario(loss="flat", noise=0.01, ratio=1e-7),
    Scenario(loss="flat", noise=0.01, ratio=0.5),
    Scenario(loss="flat", noise=0.01, norm=0.0),
    Scenario(loss="flat", noise=0.01, steps=60, ratio=0.5),
    Scenario(loss="flat", noise=0.01, steps=80, inputs=180.0),
    Scenario(loss="creeps", noise=0.001, ratio=1e-7, clip=1e-5),
)
HEALTHY = (
    Scenario(),
    Scenario(loss="flat", noise=0.9),
    Scenario(loss="flat", steps=150),
    Scenario(loss="rises", noise=0.02),
    Scenario(loss="creeps", noise=0.001),
    Scenario(loss="flat", noise=0.01, steps=1000, interleaved=True),
    Scenario(loss="flat", noise=0.01, steps=1000, baseline=10.0),
)
_FIRST, _SMALL, _Z = 20, 0.02, 2.33
_BELOW = 0.05


def check(run: Run) -> Iterable[Finding]:
    """Fire where a fall of 2% can be ruled out."""
    loss = judged(run)
    if loss is None or (baseline(run) is not None and not loose(run)):
        return
    start, end, error = levels(loss)
    fall = start - end
    small = fall + _Z * error < _SMALL * abs(start)
    if start == 0 or not small or end > 2 * abs(start):
        return
    if _is_worth(run, loss, rise=-fall - _Z * error > 0):
        return
    why = reason(run)
    if fall - _Z * error > 0 and not why.still:
        return
    if not why.known and len(loss) < UNEXPLAINED:
        return
    yield Finding(
        CODE,
        msg(
            "the loss does not move: {start:.4g} at the start, {end:.4g} after {number} steps",
            start=start,
            end=end,
            number=len(loss),
        ),
        why.cause,
        Severity.ERROR,
        symptom=Symptom.STANDING_STILL,
        evidence=(
            msg("the fall is {fall:.2g}, give or take {Z:.2g} (99%)", fall=fall, Z=_Z * error),
            *why.facts,
        ),
        advice=why.advice,
        explained_by=tuple(c for c in Cause if c is not Cause.PRECISION),
    )


def _is_worth(run: Run, loss: Floats, rise: bool) -> bool:
    """Whether it is a likelihood times what it was worth, as a policy's: it takes either sign, or comes up from
    below 0. Its level says nothing of what was learnt.
    """
    return takes_either_sign(run) or (rise and float((loss < 0).mean()) > _BELOW)


def levels(loss: Floats) -> tuple[float, float, float]:
    """The level of the first losses, of the last fifth, and the standard error of their difference."""
    few = max(min(_FIRST, len(loss) // 5), len(loss) // 10)
    first, last = loss[:few], loss[-(len(loss) // 5) :]
    scatter = float(np.std(last, ddof=1))
    parts = min(10, len(last) // 2)
    blocks = [float(block.mean()) for block in np.array_split(last, parts)]
    lasting = float(np.std(blocks, ddof=1)) / math.sqrt(parts)
    end = max(scatter / math.sqrt(len(last)), lasting)
    # What lasts over a block is not averaged out in the first losses either.
    start = math.hypot(max(scatter, float(np.std(first, ddof=1))) / math.sqrt(len(first)), lasting)
    return float(first.mean()), float(last.mean()), math.hypot(start, end)
