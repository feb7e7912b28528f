"""EG201 saturated activations: most of a layer sits on the flat ends of its activation.

What it finds: a bounded activation (sigmoid, tanh, their hard kin, ReLU6's upper end) with more than half
of its outputs within 1% of an end.

Why it matters: there the slope is all but 0, so neither this layer nor any before it learns from those
elements.

How it decides: share of saturated elements over one batch above 0.5, the figure that SageMaker Debugger uses
for a layer's majority, and a gradient that is lost there: less than half of its norm gets through, and no
larger part goes another way, as round a gate that multiplies. At variance-preserving scales less than 4% of
tanh's outputs saturate: where the weights before such a layer are above theirs, they are the cause
(initialisation), else the activation.

What to do: it is nearly always an echo: of weights too large, or of inputs that are not normalised.

References: Glorot and Bengio 2010; LeCun 1998, Efficient BackProp, section 4.4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from evengrad.diagnosis.evidence import Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Operation

CODE = "EG201"
SICK = (
    NetworkCase(activation="tanh", gain=12.0),
    NetworkCase(layers="conv", width=16, activation="tanh", bias=6.0),
)
HEALTHY = (
    NetworkCase(activation="tanh"),
    NetworkCase(activation="sigmoid"),
    NetworkCase(activation="relu"),
)

_MAJORITY = 0.5
_HALF = math.log(0.5)


def check(evidence: Evidence) -> Iterable[Finding]:
    """Fire on the layers of which the majority is saturated."""
    sick = [
        op
        for op in evidence.probe.operations
        if op.health and op.health.saturated > _MAJORITY and _loses(evidence, op)
    ]
    if not sick:
        return
    worst = max(sick, key=lambda op: op.health.saturated if op.health else 0.0)
    assert worst.health is not None
    names = {op.name for op in sick}
    large = [
        s for s in evidence.shares.scales if s.activation in names and s.actual > 1.1 * s.preserving
    ]
    yield Finding(
        CODE,
        msg(
            "{saturated:.0%} of {layer}'s {type} outputs are saturated",
            saturated=worst.health.saturated,
            layer=worst.layer,
            type=worst.type,
        ),
        Cause.INITIALISATION if large else Cause.ACTIVATION,
        Severity.WARNING,
        symptom=Symptom.SATURATED,
        layers=tuple(op.layer for op in sick),
        evidence=tuple(
            msg("{layer}: {saturated:.0%} saturated", layer=op.layer, saturated=op.health.saturated)
            for op in sick
            if op.health
        )
        + tuple(
            msg(
                "{layer}: its weights are {actual:.3g} times the variance-preserving scale",
                layer=s.layer,
                actual=s.actual / s.preserving,
            )
            for s in large
        ),
        advice=(
            msg("bring its input back to about unit size: smaller weights, or a normalisation"),
        ),
        explained_by=(Cause.INITIALISATION, Cause.INPUT_DATA),
    )


def _loses(evidence: Evidence, op: Operation) -> bool:
    """Whether most of the gradient would pass it, and does not. (One that gets none says nothing.)"""
    flow = evidence.budget.flow.get(op.name, 1.0)
    return flow > 0.5 and (op.log_gain is None or op.log_gain < _HALF)
