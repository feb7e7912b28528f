"""EG303 outputs too large: before the first step the network is sure of its answers, and wrong.

What it finds: logits with a root mean square above 30 whose loss is worse than that of guessing; in a
regression, outputs with one above 30 and 30 times the largest target.

Why it matters: the softmax of such logits is one-hot, so that the loss begins tens of times above guessing; a
squared error begins a thousand times above the constant baseline. The first updates go into making the
network less sure, overwrite weights, or kill units, and their largest stable rate is far below the one that is
wanted later.

How it decides: both must hold. Weights that preserve the variance give outputs of about 1; the bound is 10^1.5
times that, as for one layer's weights (EG301). With Gaussian logits of rms s and K classes the loss is near
s sqrt(2 ln K). A trained network may have logits as large, but not a loss above ln K, and outputs as large only
where its targets are. Where the gradient explodes (EG101), what makes it grow backwards makes the signal grow
forwards: then the cause is that one's.

What to do: variance-preserving weights, above all in the last layer; or a normalisation before it. In a
residual network whose sums grow: branches that begin at zero.

References: Karpathy 2019, A Recipe for Training Neural Networks, "verify loss at init".
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from evengrad.diagnosis.advice import initialiser
from evengrad.diagnosis.evidence import DRIFT, Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Loss
from evengrad.values.spec import Kind

CODE = "EG303"
SICK = (
    NetworkCase(depth=4, gain=5.0),
    NetworkCase(layers="conv", depth=3, width=16, gain=6.0),
    NetworkCase(depth=4, gain=5.0, loss="mse"),
)
HEALTHY = (NetworkCase(), NetworkCase(depth=4, gain=2.0, loss="mse"))

_LARGE = math.exp(DRIFT / 2)
_FAMILIES = ("sparse_categorical", "categorical", "binary")
_ECHO_OF = (
    Cause.BAD_BATCH, Cause.INPUT_DATA, Cause.LOSS_HEAD, Cause.INITIALISATION, Cause.ARCHITECTURE,
    Cause.NORMALISATION, Cause.ACTIVATION,
)  # fmt: skip


def check(evidence: Evidence) -> Iterable[Finding]:
    """Judge the network's outputs, before a closing softmax or sigmoid, and at its loss."""
    probe = evidence.probe
    ends = {port.tensor for port in probe.outputs}
    made = [o for o in probe.operations if {p.tensor for p in o.outputs} & ends]
    size = max([op.forward.rms for op in made if op.kind is not Kind.LOSS], default=0.0)
    against = _worse(probe.loss, size)
    if against is None or not _LARGE < size < math.inf:
        return
    explodes = max((block.bottom for block in evidence.blocks), default=0.0) > DRIFT
    cause = Cause.INITIALISATION
    if explodes and evidence.layered:
        cause = evidence.main_cause(+1.0)
    what = msg("outputs") if probe.loss.family == "regression" else msg("logits")
    yield Finding(
        CODE,
        msg(
            "before the first step the {what} have an rms of {size:.3g}, and a loss of {value:.3g}",
            what=what,
            size=size,
            value=probe.loss.value,
        ),
        cause,
        Severity.WARNING,
        layers=tuple(dict.fromkeys(op.layer for op in made)),
        evidence=(against, msg("{what} of about 1 are usual", what=what)),
        advice=(_advice(evidence, cause),),
        explained_by=_ECHO_OF,
    )


def _advice(evidence: Evidence, cause: Cause) -> str:
    if cause is not Cause.INITIALISATION:
        return msg("fix what makes the gradient explode: {cause}", cause=cause.words)
    if not evidence.layered:
        return msg(
            "begin with parameters that give outputs of the targets' size, or standardise the targets"
        )
    return msg("all layers: {initialiser}", initialiser=initialiser(evidence.probe, "relu"))


def _worse(loss: Loss, size: float) -> str | None:
    """By what the answers are known to be wrong; None where they may be right."""
    if loss.family == "regression" and loss.targets is not None:
        largest = max(abs(loss.targets.min), abs(loss.targets.max))
        return (
            msg("no target is larger than {largest:.3g}", largest=largest)
            if size > _LARGE * largest
            else None
        )
    guessing = math.log(max(loss.classes or 2, 2))
    if loss.family in _FAMILIES and loss.value > guessing:
        return msg("guessing would have a loss of {guessing:.3g}", guessing=guessing)
    return None
