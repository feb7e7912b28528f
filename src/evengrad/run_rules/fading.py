"""EG806 vanishing onset: the first layers lost their gradient while training.

What it finds: a gradient of the first weight matrix that fell, against the last one's, a thousandfold since
the start of the run.

Why it matters: the first layers stop learning, and the loss may look as if it had converged.

How it decides: relative to the last matrix and to the run's own beginning, never by an absolute size: both the
ratio itself and its change since the first look are below 1e-3 (AutoTrainer's figure), and it still is in the
last looks. A gradient that shrinks everywhere, as in every training that converges, does not count.

What to do: look at the activations between both: saturated tanh or sigmoid, dead units. Lower the rate that
drove them there; normalise, or add skip connections.

References: AutoTrainer (ICSE 2021); Glorot 2010.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from evengrad.finding import Cause, Finding, Severity
from evengrad.readings import grid, happened, matrices, middle, sampled
from evengrad.run import Kind, Run
from evengrad.scenario import Scenario
from evengrad.wording import percent

CODE = "EG806"
SICK = (Scenario(vanishing=1e8), Scenario(vanishing=1e8, saturated=0.9))
HEALTHY = (Scenario(), Scenario(vanishing=100.0), Scenario(norm=1e-6))
_LOW = 1e-3


def check(run: Run) -> Iterable[Finding]:
    """Fire where the monitor saw it begin and it has not mended."""
    events = happened(run, Kind.VANISHING)
    own = matrices(run)
    if not events or len(own) < 2:
        return
    last = middle(grid(run, "gradient_rms")[1][-5:])
    first, end = last[own[0]], last[own[-1]]
    if not (end > 0 and first / end < _LOW):
        return
    cause, fact = _why(run)
    yield Finding(
        CODE,
        f"the gradient of {run.subject.tensors[own[0]].layer} vanishes while training: "
        f"{first / end:.2g} of that of {run.subject.tensors[own[-1]].layer}",
        cause,
        Severity.WARNING,
        layers=(run.subject.tensors[own[0]].layer,),
        evidence=(f"step {events[0].step}: {events[0].message}", *fact),
        advice=(
            "lower the learning rate or warm it up: it drove the activations where they have no slope",
            "normalise between the layers, or add skip connections",
        ),
    )


def _why(run: Run) -> tuple[Cause, list[str]]:
    """The activation that has no slope left, where there is one."""
    for figure, words in (("saturated", "saturated"), ("dead", "dead")):
        now = middle(sampled(run, figure)[1][-3:])
        if len(now) and np.nanmax(np.append(now, 0)) > 0.5:
            worst = int(np.nanargmax(now))
            return Cause.ACTIVATION, [f"{percent(now[worst])} of {run.layers[worst]} is {words}"]
    return Cause.LEARNING_RATE, []
