"""EG301 initialisation too large: weights above the scale that preserves the variance.

What it finds: layers whose scale s = rms(W) sqrt(fan_in) is above g = 1 / sqrt(E[phi^2]) of the activation
behind them, so far that together they let the gradient grow a thousandfold, or one of them alone by
thirty.

Why it matters: forward values and backward gradients both grow by s / g a layer. Logits of thousands
saturate the softmax, updates are too large, and a deep net overflows.

How it decides: by the sum over layers of log(s / g), weighted by the share of the gradient that passes
the layer, above log 10^3 (see EG101); or one layer above 10^1.5, half of those decades. Layers with a
normalisation behind them do not count: it takes their scale out.

What to do: the variance-preserving initialiser, or the weights times g / s.

References: He 2015 (1502.01852); Glorot and Bengio 2010; Hanin 2018 (1801.03744).
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
from evengrad.values.wording import count, fold, layers

CODE = "EG301"
SICK = (NetworkCase(depth=20, gain=2.4), NetworkCase(layers="conv", depth=4, width=16, gain=16.0))
HEALTHY = (NetworkCase(depth=20, width=128), NetworkCase(normalisation="batch", gain=20.0))

_ONE_LAYER = DRIFT / 2


def check(evidence: Evidence) -> Iterable[Finding]:
    """Fire where the scales of the weights together, or of one layer, are too large."""
    large = [s for s in evidence.shares.scales if s.log_excess > log(1.1)]
    total = evidence.share(Cause.INITIALISATION)
    if not (total > DRIFT or any(s.log_excess > _ONE_LAYER for s in large)):
        return
    together = sum(s.log_excess for s in large if isfinite(s.log_excess))
    types = {op.name: op.type for op in evidence.probe.operations}
    yield Finding(
        CODE,
        msg(
            "the weights of {layers} are too large: {together} in the gradient",
            layers=count(len(large), "layer"),
            together=fold(together),
        ),
        Cause.INITIALISATION,
        Severity.ERROR,
        symptom=Symptom.WEIGHT_SCALE,
        layers=tuple(s.layer for s in large),
        evidence=tuple(s.in_words() for s in sorted(large, key=lambda s: -s.log_excess)[:5]),
        advice=tuple(
            f"{layers(names)}: {initialiser(evidence.probe, kind)}"
            for kind, names in _by_activation(large, types).items()
        ),
    )


def _by_activation(scales: list[Scale], types: dict[str, str]) -> dict[str | None, list[str]]:
    groups: dict[str | None, list[str]] = {}
    for s in scales:
        groups.setdefault(types.get(s.activation or ""), []).append(s.layer)
    return groups
