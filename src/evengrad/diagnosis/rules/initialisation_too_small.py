"""EG302 initialisation too small: weights below the scale that preserves the variance.

What it finds: layers whose scale s = rms(W) sqrt(fan_in) is below g = 1 / sqrt(E[phi^2]) of the activation
behind them, so far that together they shrink the gradient a thousandfold, or one alone by thirty.

Why it matters: signal and gradient fade by s / g a layer. PyTorch's default for Linear and Conv gives
s = 0.577 where ReLU needs 1.414: 1.7e-8 over 20 layers.

How it decides: as EG301, with the sign turned. Designs do not count: a layer that a shorter path goes round
(under a residual stream std 0.02 is small and right); the last layer, which only makes the first answers alike;
and weights that are all zero but have a gradient, so that the first step makes them something else. Where the
activation by itself lets the gradient vanish (EG203), this is an echo of it: another activation wants another
scale.

What to do: the variance-preserving initialiser. Two layers of zeros in a row never get a gradient.

References: He 2015 (1502.01852); docs/theory.md, Closed forms.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite, log

from evengrad.diagnosis.advice import initialiser
from evengrad.diagnosis.causes import Scale
from evengrad.diagnosis.evidence import DRIFT, Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.wording import count, fold

CODE = "EG302"
SICK = (NetworkCase(depth=20, gain=0.577), NetworkCase(layers="conv", depth=5, width=16, gain=0.03))
HEALTHY = (NetworkCase(depth=20, width=128), NetworkCase(depth=4, gain=0.577))

_ONE_LAYER = -DRIFT / 2


def check(evidence: Evidence) -> Iterable[Finding]:
    """Fire where the scales of the weights together, or of one layer, are too small."""
    counted = [s for s in evidence.shares.scales if not _designed(evidence, s)]
    small = [s for s in counted if s.log_excess < -log(1.1)]
    total = sum(s.log_excess for s in counted)
    if not (total < -DRIFT or any(s.log_excess < _ONE_LAYER for s in small)):
        return
    together = sum(s.log_excess for s in small)
    types = {op.name: op.type for op in evidence.probe.operations}
    kinds = {types.get(s.activation or "") for s in small}
    echo = evidence.share(Cause.ACTIVATION) < -DRIFT
    amount = fold(together) if isfinite(together) else "wholly"
    yield Finding(
        CODE,
        msg(
            "the weights of {layers} are too small: they shrink the gradient {amount}",
            layers=count(len(small), "layer"),
            amount=amount,
        ),
        Cause.INITIALISATION,
        Severity.ERROR,
        symptom=Symptom.WEIGHT_SCALE,
        layers=tuple(s.layer for s in small),
        evidence=tuple(s.in_words() for s in sorted(small, key=lambda s: s.log_excess)[:5]),
        advice=tuple(initialiser(evidence.probe, kind) for kind in sorted(kinds, key=str)),
        explained_by=(Cause.ACTIVATION,) if echo else (),
    )


def _designed(evidence: Evidence, scale: Scale) -> bool:
    op = evidence.operation(scale.operation)
    last = evidence.is_last(op) and scale.actual > 0
    return last or scale.operation in evidence.bypassed or evidence.begins_at_zero(op)
