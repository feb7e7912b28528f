"""EG401 plain normalised stack explodes: normalisation without skip connections, too deep.

What it finds: normalised layers whose share of the budget is a growth of a thousandfold or more.

Why it matters: behind BatchNorm a ReLU layer multiplies the gradient by sqrt(pi / (pi - 1)) = 1.211,
whatever its weights: 45-fold over 20 layers, 14,000-fold over 50. The weights' scale cannot change it, so
no initialiser cures it.

How it decides: the share of weights, normalisation and the activations between them, above the drift of 10^3
(see EG101). Only layers count that no shorter path goes round: a residual sum, a concatenation or a short
branch beside them is a skip, however many weights it leaves out. A normalisation without weights before it (of
embeddings, of a residual stream) counts without the scale that it takes out, which no training feels. And the
gradient must have grown as much at a cut point, for values of rms 1 there (see EG101): what other layers take
back is no growth, nor is what the first normalisation makes of inputs that are a hundredth.

What to do: skip connections (a pre-activation residual net grows only as a power of depth), fewer layers,
an activation nearer to linear (SELU 1.035, tanh 1.085 a layer), or LayerNorm in front of ReLU, which is
neutral.

References: Yang 2019 (1902.08129); De and Smith 2020 (2002.10444); docs/theory.md, Activations (last column).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp

from evengrad.diagnosis.evidence import DRIFT, Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.spec import Kind
from evengrad.values.wording import fold

CODE = "EG401"
SICK = (NetworkCase(depth=50, normalisation="batch", batch=128),)
HEALTHY = (
    NetworkCase(depth=12, normalisation="batch", batch=128),
    NetworkCase(layers="conv", depth=12, width=16, normalisation="batch", residual=True),
)


def check(evidence: Evidence) -> Iterable[Finding]:
    """Fire where normalised layers' share of the growth exceeds the drift."""
    share = evidence.plain(Cause.NORMALISATION)
    layers = [
        op
        for op in evidence.probe.operations
        if op.kind is Kind.NORMALISATION
        and op.name in evidence.shares.by_operation
        and op.name not in evidence.bypassed
    ]
    grown = max((level for _, level in evidence.levels), default=0.0)
    share = min(share - sum(evidence.scale_taken_out(op) for op in layers), grown)
    if not share > DRIFT or not layers:
        return
    yield Finding(
        CODE,
        msg(
            "{number} normalised layers without skips grow the gradient {share}",
            number=len(layers),
            share=fold(share),
        ),
        Cause.NORMALISATION,
        Severity.ERROR,
        symptom=Symptom.NORMALISED_STACK,
        layers=tuple(op.layer for op in layers),
        evidence=(
            msg(
                "{exp:.3f} a layer; theory for BatchNorm and ReLU: 1.211",
                exp=exp(share / len(layers)),
            ),
            msg("the scale of the weights cancels: another initialisation changes nothing"),
        ),
        advice=(
            msg("add a skip connection round every one or two of these layers"),
            msg(
                "or normalise in front of the activation with LayerNorm, which is neutral with ReLU"
            ),
        ),
    )
