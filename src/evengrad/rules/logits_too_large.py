"""EG303 logits too large: before the first step the network is sure of its answers, and wrong.

What it finds: logits with a root mean square above 30 whose loss is worse than that of guessing.

Why it matters: the softmax of such logits is one-hot, so that the loss begins tens of times above guessing.
The first updates go into making the network less sure, overwrite weights, or kill units.

How it decides: both must hold. Weights that keep the variance give logits of about 1; the bound is 10^1.5 times
that, as for one layer's weights (EG301). With Gaussian logits of rms s and K classes the loss is near
s sqrt(2 ln K). A trained network may have logits as large, but not a loss above ln K.

What to do: variance-keeping weights, above all in the last layer; or a normalisation before it.

References: Karpathy 2019, A Recipe for Training Neural Networks, "verify loss at init".
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from evengrad.advice import initialiser
from evengrad.evidence import DRIFT, Evidence
from evengrad.finding import Cause, Finding, Severity
from evengrad.network import Network
from evengrad.spec import Kind

CODE = "EG303"
SICK = (Network(depth=4, gain=5.0), Network(layers="conv", depth=3, width=16, gain=6.0))
HEALTHY = (Network(), Network(depth=4, gain=5.0, loss="mse"))

_LARGE = math.exp(DRIFT / 2)
_FAMILIES = ("sparse_categorical", "categorical", "binary")
_ECHO_OF = (
    Cause.BAD_BATCH, Cause.INPUT_DATA, Cause.LOSS_HEAD, Cause.INITIALISATION, Cause.ARCHITECTURE,
    Cause.NORMALISATION, Cause.ACTIVATION,
)  # fmt: skip


def check(evidence: Evidence) -> Iterable[Finding]:
    """Look at the network's outputs, before a closing softmax or sigmoid, and at its loss."""
    probe = evidence.probe
    loss = probe.loss
    ends = {port.tensor for port in probe.outputs}
    guessing = math.log(max(loss.classes or 2, 2))
    made = [o for o in probe.operations if {p.tensor for p in o.outputs} & ends]
    sizes = [op.forward.rms for op in made if op.kind is not Kind.LOSS]
    if loss.family not in _FAMILIES or not sizes or not loss.value > guessing:
        return
    if not _LARGE < max(sizes) < math.inf:
        return
    yield Finding(
        CODE,
        f"before the first step the logits have an rms of {max(sizes):.3g}, and a loss of {loss.value:.3g}",
        Cause.INITIALISATION,
        Severity.WARNING,
        layers=tuple(dict.fromkeys(op.layer for op in made)),
        evidence=(f"guessing would have a loss of {guessing:.3g}", "logits of about 1 are usual"),
        advice=(f"all layers: {initialiser(probe, 'relu')}",),
        explained_by=_ECHO_OF,
    )
