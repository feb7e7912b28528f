"""EG101 exploding: the gradient grows from the output to the input.

What it finds: at the output of a layer with weights the norm of the gradient is a thousand times its norm at
the model's output.

Why it matters: a learning rate that suits the last layers tears up the first ones, or the reverse; the
loss jumps, and soon a value overflows to inf and NaN.

How it decides: by the budget, relative to the gradient at the output; never by an absolute size. The
threshold is a drift of 10^3 at any cut point: with three decades between both ends no single rate keeps
every layer's update in the healthy 1e-4 to 1e-1 of its weights (TheDeepChecker, 2204.00694). Below a
normalisation the gradient is taken for values of rms 1: there the loss does not depend on their scale. Weights
straight before a normalisation do not count: a step that is too large for them makes them longer, and so the
next step smaller (Arora 2018); how far a plain stack of them may go is EG401's question. The cause is
the one with the largest share of the growth: initialisation (weights above the variance-preserving scale),
activation, normalisation (a plain BatchNorm stack grows by 1.21 a layer) or architecture (residual sums,
1.41 a block).

What to do: fix the named cause. Clipping bounds the update, not the growth: the layers stay uneven.

References: He 2015 (1502.01852); Hanin 2018 (1801.03744); Yang 2019 (1902.08129); Arora 2018 (1812.03981).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from evengrad.diagnosis.advice import NORMALISE
from evengrad.diagnosis.evidence import DRIFT, Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.wording import fold

CODE = "EG101"
SICK = (NetworkCase(depth=20, gain=2.4), NetworkCase(layers="conv", depth=16, width=16, gain=2.9))
HEALTHY = (NetworkCase(depth=20, width=128), NetworkCase(depth=12, gain=1.1))

_RAW = 10.0
_ADVICE = {
    Cause.NORMALISATION: msg(
        "add skip connections round the normalised layers, or use fewer of them"
    ),
    Cause.INITIALISATION: msg("initialise the weights at their variance-preserving scale"),
    Cause.ACTIVATION: msg("use an activation whose slope does not exceed 1"),
}


def check(evidence: Evidence) -> Iterable[Finding]:
    """Fire where a cut point's norm exceeds the output's a thousandfold."""
    where, level = _worst(evidence)
    if not level > DRIFT:
        return
    cause, advice = _cause(evidence)
    yield Finding(
        CODE,
        msg(
            "the gradient grows {level} from the output to {where}", level=fold(level), where=where
        ),
        cause,
        Severity.ERROR,
        symptom=Symptom.EXPLODING,
        unhealthy=True,
        layers=(where,),
        evidence=(_largest(evidence, cause),),
        advice=(advice,),
        explained_by=()
        if cause is Cause.INPUT_DATA
        else (*evidence.causes(+1.0), Cause.INPUT_DATA),
    )


def _worst(evidence: Evidence) -> tuple[str, float]:
    """Where the gradient is largest among what feels it: weights at their output; where there are none,
    anything at its input.
    """
    if evidence.layered:
        op, level = max(evidence.felt, key=lambda pair: pair[1], default=(None, -math.inf))
        return ("" if op is None else op.layer), level
    block, level = max(evidence.levels, key=lambda pair: pair[1], default=(None, -math.inf))
    return ("" if block is None else evidence.lowest_layer(block)), level


def _cause(evidence: Evidence) -> tuple[Cause, str]:
    """With what to do. Branches are only blamed where there are some, layers only where there are some."""
    cause = evidence.main_cause(+1.0)
    if cause is not Cause.ARCHITECTURE:
        return cause, _ADVICE.get(cause, _ADVICE[Cause.INITIALISATION])
    if evidence.bypassed:
        return cause, msg(
            "start each residual branch at zero, or scale it by 1/sqrt(number of blocks)"
        )
    worst = evidence.largest_term(+1.0)
    if not evidence.layered and any(given.value.rms > _RAW for given in evidence.probe.inputs):
        return Cause.INPUT_DATA, msg(
            "{NORMALISE}: what {type} is given is too large", NORMALISE=NORMALISE, type=worst.type
        )
    return (
        Cause.INITIALISATION,
        msg("begin with weights for which {type} is given about unit size", type=worst.type),
    )


def _largest(evidence: Evidence, cause: Cause) -> str:
    share = evidence.share(cause)
    if share > 0:
        return msg("{cause} has the largest share: {share}", cause=cause.words, share=fold(share))
    worst = evidence.largest_term(+1.0)
    return msg(
        "{layer} ({type}) has the largest share: {log_gain}",
        layer=worst.layer,
        type=worst.type,
        log_gain=fold(worst.log_gain or 0.0),
    )
