"""EG807 divergence: the loss ends far above where it began.

What it finds: a loss that has grown instead of falling, and has not come back.

Why it matters: the weights are worse than untrained ones, and every further step is wasted.

How it decides: the median of 20 losses in a row came to twice that of the first 20 (measured choice: wide
enough for a catapult, which returns), and the last 20 still are above it. Only for losses that are positive,
and not where two trainings take turns (a GAN's).

What to do: normalise inputs of a root mean square above 10. Else lower the learning rate, to what `evengrad
check` gives as the largest stable one, or warm it up:
warm-up alone stabilises as much as normalisation does.

References: Lewkowycz 2020 (2003.02218); Gilmer 2021 (2110.04369).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.learning import collapsed, judged, raw_inputs, too_fast
from evengrad.diagnosis.readings import events_of_kind
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.run import EventKind, Floats, Run

CODE = "EG807"
_SCATTER = 10.0
SICK = (Scenario(loss="rises"), Scenario(spikes=(100,), spike=5.0, loss="flat", after_spike=4.0))
HEALTHY = (
    Scenario(),
    Scenario(loss="flat"),
    Scenario(spikes=(30,), after_spike=2.5),
    Scenario(loss="rises", interleaved=True),
)


def check(run: Run) -> Iterable[Finding]:
    """Fire where the monitor saw it and it has not come back."""
    events = events_of_kind(run, EventKind.DIVERGENCE)
    loss = judged(run)
    if not events or loss is None or collapsed(run) is not None:
        return
    first, last = float(np.median(loss[:20])), float(np.median(loss[-20:]))
    if last <= 2 * first or _around_nothing(loss[:20], last):
        return
    why = raw_inputs(run) or too_fast(run)
    yield Finding(
        CODE,
        msg("the loss diverges: {last:.3g} now, {first:.3g} at the start", last=last, first=first),
        why.cause,
        Severity.ERROR,
        symptom=Symptom.DIVERGING,
        unhealthy=True,
        evidence=(
            *why.facts,
            msg("step {step}: {message}", step=events[0].step, message=events[0].message),
        ),
        advice=why.advice,
        explained_by=tuple(cause for cause in Cause),
    )


def _around_nothing(start: Floats, last: float) -> bool:
    """Whether the loss began on either side of 0, where no multiple says anything (a policy's), and is still
    within its scatter of then.
    """
    either = bool((start < 0).any() and (start > 0).any())
    return either and last - float(np.median(start)) <= _SCATTER * float(start.std())
