"""EG203 activation shrinks or grows the gradient: its slopes, multiplied over depth, do not cancel.

What it finds: activations whose share of the budget is a factor of a thousand or more, even granted weights
of the right scale.

Why it matters: no initialisation cures it. A sigmoid's slope is at most 1/4: with variance-preserving
weights the gradient still shrinks by sqrt(0.153) = 0.39 a layer.

How it decides: for each layer log(g * slope), with g the gain that preserves the variance forward under that
activation and slope the measured one; summed over depth it must exceed the drift of 10^3 (see EG101). The
gradient itself must have changed by half of those decades: what other layers take back is no change. Layers
that are dead or saturated are left out: they are another finding; and nothing is said where the gradient leaves
the range of numbers on its way.

What to do: ReLU or another activation with E[phi'^2] near E[phi^2], and the weights that go with it.

References: Glorot 2011, Deep sparse rectifier networks; docs/theory.md, Activations.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, isfinite

from evengrad.diagnosis.advice import initialiser, relu
from evengrad.diagnosis.evidence import DRIFT, Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Operation
from evengrad.values.spec import Kind
from evengrad.values.wording import fold

CODE = "EG203"
SICK = (
    NetworkCase(depth=14, activation="sigmoid"),
    NetworkCase(layers="conv", depth=14, width=16, activation="sigmoid"),
)
HEALTHY = (NetworkCase(depth=20, activation="tanh"), NetworkCase(depth=3, activation="sigmoid"))


def check(evidence: Evidence) -> Iterable[Finding]:
    """Fire where the activations' own share of the budget exceeds the drift."""
    share = evidence.share(Cause.ACTIVATION)
    acting = [
        op
        for op in evidence.probe.operations
        if op.kind is Kind.ACTIVATION and op.name in evidence.shares.by_operation and op.log_gain
    ]
    known = isfinite(evidence.budget.total) and isfinite(share)
    sign = -1.0 if share < 0 else 1.0
    if (
        not known
        or not abs(share) > DRIFT
        or not evidence.real(sign) > DRIFT / 2
        or any(_impaired(op) for op in acting)
    ):
        return
    worst = sorted(acting, key=lambda op: (op.log_gain or 0.0) * (1 if share < 0 else -1))
    kind = worst[0].type if worst else "activation"
    slopes = [op.log_gain for op in acting if op.type == kind and op.log_gain is not None]
    mean = sum(slopes) / max(len(slopes), 1)
    figures = {"kind": kind, "share": fold(share), "number": len(slopes)}
    yield Finding(
        CODE,
        msg("{kind} shrinks the gradient {share} over {number} layers", **figures)
        if share < 0
        else msg("{kind} grows the gradient {share} over {number} layers", **figures),
        Cause.ACTIVATION,
        Severity.ERROR,
        symptom=Symptom.UNEVEN_SLOPES,
        layers=tuple(op.layer for op in acting if op.type == kind),
        evidence=(
            msg("its slope multiplies the gradient by {exp:.3g} a layer", exp=exp(mean)),
            msg(
                "that share remains with weights of the right scale (threshold {DRIFT})",
                DRIFT=fold(DRIFT),
            ),
        ),
        advice=(
            msg(
                "use {relu} in these layers, with {initialiser}",
                relu=relu(evidence.probe),
                initialiser=initialiser(evidence.probe, "relu"),
            ),
        ),
    )


def _impaired(op: Operation) -> bool:
    return op.health is not None and max(op.health.dead, op.health.saturated) > 0.75
