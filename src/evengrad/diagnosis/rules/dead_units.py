"""EG202 dead units: most of a layer's units are zero for every sample of the batch.

What it finds: a ReLU-like layer with far more units that never fire than symmetry explains.

Why it matters: a unit that is off for all samples has no gradient and stays off. A layer full of them
stops everything before it from learning.

How it decides: in a deep ReLU network the samples of a batch become alike, and then a unit is off for
all of them with probability 1/2 by symmetry, in perfect health. So the share must exceed
1/2 + 4 standard deviations of that coin, 1/2 + 4 * 0.5 / sqrt(units) (a bound by theory, at most all
units).

What to do: check for biases far below zero, inputs that are all negative, and rates too large before this
point; else use LeakyReLU or ELU, which have no zero region.

References: Lu 2019, Dying ReLU and initialization (1903.06733).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from evengrad.diagnosis.evidence import Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import ActivationHealth

CODE = "EG202"
SICK = (NetworkCase(bias=-4.0), NetworkCase(layers="conv", width=32, bias=-6.0))
HEALTHY = (
    NetworkCase(depth=40, width=128),
    NetworkCase(layers="conv", width=16),
    NetworkCase(classes=3),
)


def check(evidence: Evidence) -> Iterable[Finding]:
    """Fire on layers with more dead units than symmetry explains."""
    sick = [
        (op, op.health)
        for op in evidence.probe.operations
        if op.health and op.health.dead >= _bound(op.health)
    ]
    if not sick or _begins_at_nothing(evidence):
        return
    op, worst = max(sick, key=lambda pair: pair[1].dead)
    yield Finding(
        CODE,
        msg(
            "{dead:.0%} of {layer}'s {units} units are dead on this batch",
            dead=worst.dead,
            layer=op.layer,
            units=worst.units,
        ),
        Cause.INITIALISATION,
        Severity.ERROR if worst.dead == 1.0 else Severity.WARNING,
        symptom=Symptom.DEAD_UNITS,
        layers=tuple(op.layer for op, _ in sick),
        evidence=tuple(
            msg("{layer}: {dead:.0%} of its units dead", layer=op.layer, dead=health.dead)
            for op, health in sick
        ),
        advice=(msg("start its biases at 0, and see that its input is not all of one sign"),),
        explained_by=(Cause.INPUT_DATA, Cause.BAD_BATCH),
    )


def _begins_at_nothing(evidence: Evidence) -> bool:
    """Whether weights are all zero and stay so: nothing can be alive then, which is said of them."""
    return any(
        w.fan_in is not None and w.value.rms == 0 and (w.gradient is None or w.gradient.rms == 0)
        for w in evidence.probe.weights
    )


def _bound(health: ActivationHealth) -> float:
    if health.units == 0:
        return math.inf
    return min(1.0, 0.5 + 4 * 0.5 / math.sqrt(health.units))
