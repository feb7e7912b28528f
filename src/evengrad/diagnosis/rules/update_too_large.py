"""EG701 update too large: the first step would overwrite the weights.

What it finds: a layer whose coming update, by the user's own optimizer, is as large as its weights.

Why it matters: after one such step what is left of the initialisation is less than the noise of one
batch; the next gradient has nothing to do with this one, and the loss jumps.

How it decides: rms(update) / rms(weights) above 1, at which the new weights owe more to the update than to
what they were (a bound by its meaning; TheDeepChecker warns from 0.1, which Adam's first step reaches on
any wide layer at its default rate). Weights below their variance-preserving scale count as if they had it: a
head or a branch that begins at zero is to be overwritten. Weights whose scale a normalisation takes out do not
count: a step only turns them, by a right angle at most, and makes them longer, so that the next one turns them
less (Arora 2018). Nor do biases and scales.

What to do: lower the learning rate until an update is a hundredth of its weights, or warm it up. Where the
gradient explodes, this is an echo of that.

References: TheDeepChecker (2204.00694); Arora 2018 (1812.03981); Gilmer 2021 (2110.04369) on warm-up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from evengrad.diagnosis.evidence import Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.diagnosis.rate_advice import instead, overwritten
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.wording import times

CODE = "EG701"
SICK = (NetworkCase(learning_rate=300.0), NetworkCase(optimizer="adam", learning_rate=1.0))
HEALTHY = (NetworkCase(), NetworkCase(optimizer="adam", learning_rate=1e-3))

_WHOLE = 1.0
_ECHO_OF = (
    Cause.INITIALISATION,
    Cause.INPUT_DATA,
    Cause.ARCHITECTURE,
    Cause.NORMALISATION,
    Cause.BAD_BATCH,
)


def check(evidence: Evidence) -> Iterable[Finding]:
    """Compare each weight matrix with its coming update."""
    probe = evidence.probe
    ratios = overwritten(evidence)
    sick = {name: ratio for name, ratio in ratios.items() if _WHOLE < ratio < math.inf}
    if not sick or probe.optimizer is None:
        return
    layer_of = {name: op.layer for op in probe.operations for name in op.weights}
    worst = max(sick, key=lambda name: sick[name])
    rate, better = probe.optimizer.learning_rate, instead(evidence)
    now = "" if rate is None else msg(", now {rate:g},", rate=rate)
    words = msg("lower the learning rate{now} if nothing else makes the gradient so large", now=now)
    if better is not None:
        words = msg(
            "lower the learning rate{now} to {better:g}, or warm it up from there",
            now=now,
            better=better,
        )
    yield Finding(
        CODE,
        msg(
            "the first step of {name} changes the weights of {get} by {sick} themselves",
            name=probe.optimizer.name,
            get=layer_of.get(worst, worst),
            sick=times(sick[worst]),
        ),
        Cause.LEARNING_RATE,
        Severity.ERROR if sick[worst] > 10 else Severity.WARNING,
        symptom=Symptom.FIRST_UPDATE_TOO_LARGE,
        unhealthy=True,
        layers=tuple(dict.fromkeys(layer_of.get(name, name) for name in sick)),
        evidence=(
            msg(
                "{number} of {number2} weight matrices change by more than themselves",
                number=len(sick),
                number2=len(ratios),
            ),
        ),
        advice=(words,),
        explained_by=_ECHO_OF,
    )
