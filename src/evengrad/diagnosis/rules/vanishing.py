"""EG102 vanishing: the gradient fades from the output to the input.

What it finds: at some depth the norm of the gradient is below a thousandth of its norm at the model's
output.

Why it matters: the first layers hardly move. The network trains its last layers on features that stay as
random as they were drawn, or does not learn at all.

How it decides: by the budget of the data's loss alone, relative to the gradient at the output. An absolute
threshold would miss it (a global norm of 0.49 with 5e-16 at the first layer), and so would the total
loss: the gradient of an L2 penalty stays large where the data's is gone. Only cut points count, so a
residual branch that starts at zero is healthy, and so is a last layer that does: it has a gradient itself, and
the first step opens the way. Below a normalisation the gradient is taken for values of rms 1, as in EG101. The
threshold, 1e-3, is AutoTrainer's (ICSE 2021), and the width of TheDeepChecker's window for updates
(2204.00694). A gradient of exactly 0 at the output counts, too.

What to do: fix the cause with the largest share: the activation's slope, or the scale of the weights.

References: Hochreiter 1991; Glorot and Bengio 2010; Xiao 2018 (1806.05393).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from evengrad.diagnosis.advice import NORMALISE
from evengrad.diagnosis.evidence import DRIFT, Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.spec import Kind
from evengrad.values.wording import fold

CODE = "EG102"
SICK = (
    NetworkCase(depth=12, activation="sigmoid"),
    NetworkCase(layers="conv", depth=20, width=16, gain=0.577),
)
HEALTHY = (NetworkCase(depth=20, width=128), NetworkCase(depth=3, activation="sigmoid"))

_RAW, _MANY = 10.0, 5
_ADVICE = {
    Cause.ACTIVATION: msg(
        "use an activation that keeps the gradient, such as ReLU, with He weights"
    ),
    Cause.INITIALISATION: msg("initialise the weights at their variance-preserving scale"),
    Cause.NORMALISATION: msg(
        "move the normalisation in front of the activation, or add skip connections"
    ),
}


def check(evidence: Evidence) -> Iterable[Finding]:
    """Fire where a cut point's norm is under a thousandth of the output's."""
    if evidence.probe.outputs and all(port.norm == 0.0 for port in evidence.probe.outputs):
        yield _nothing(evidence)
        return
    levels = [(b, evidence.without_beginnings(b, level)) for b, level in evidence.levels]
    worst, level = min(levels, key=lambda pair: pair[1], default=(None, 0.0))
    if worst is None or not level < -DRIFT:
        return
    if (found := _overflown(evidence, level)) is not None:
        yield found
        return
    cause, advice = _cause(evidence)
    layer = evidence.lowest_layer(worst)
    others = {Cause.ACTIVATION: (Cause.INITIALISATION, Cause.INPUT_DATA)}.get(cause, ())
    yield Finding(
        CODE,
        msg("no gradient passes to the input of {layer}: it is exactly 0", layer=layer)
        if math.isinf(level)
        else msg(
            "the gradient fades {level} from the output to the input of {layer}",
            level=fold(level),
            layer=layer,
        ),
        cause,
        Severity.ERROR,
        symptom=Symptom.VANISHING,
        unhealthy=True,
        layers=(layer,),
        evidence=(_largest(evidence, cause),),
        advice=(advice,),
        explained_by=(Cause.INPUT_DATA, Cause.PRECISION)
        if cause is Cause.INPUT_DATA
        else (*evidence.causes(-1.0), *others, Cause.PRECISION),
    )


def _cause(evidence: Evidence) -> tuple[Cause, str]:
    """With what to do. Skips are only asked for where there are many layers to go round."""
    cause = evidence.main_cause(-1.0)
    flat = evidence.largest_term(-1.0)
    if cause is Cause.ACTIVATION and not any(map(evidence.matrices, evidence.probe.operations)):
        return cause, msg(
            "{layer} is saturated, and flat there: normalise what it is given (inputs of about unit "
            "size, less their mean), or begin with parameters at which it has a slope",
            layer=flat.layer,
        )
    if cause in _ADVICE:
        return cause, _ADVICE[cause]
    worst = evidence.largest_term(-1.0)
    if any(given.value.rms > _RAW for given in evidence.probe.inputs):
        return Cause.INPUT_DATA, msg(
            "{NORMALISE}: {layer} ({type}) is full with it",
            NORMALISE=NORMALISE,
            layer=worst.layer,
            type=worst.type,
        )
    if worst.kind is Kind.RECURRENT:
        return cause, msg(
            "use an LSTM or a GRU in place of a plain recurrence, or shorter sequences"
        )
    if sum(evidence.feels_scale(op.name) for op in evidence.probe.operations) >= _MANY:
        return cause, msg("add skip connections round the layers that lose the gradient")
    what = f"{worst.layer} ({worst.type})"
    return cause, msg(
        "bring what {what} is given, or what it divides by, to about unit size", what=what
    )


def _largest(evidence: Evidence, cause: Cause) -> str:
    share = evidence.share(cause)
    if math.isinf(share):
        worst = evidence.largest_term(-1.0)
        return msg(
            "{layer} ({type}) is flat at every value that it is given",
            layer=worst.layer,
            type=worst.type,
        )
    if share < 0:
        return msg("{cause} has the largest share: {share}", cause=cause.words, share=fold(share))
    worst = evidence.largest_term(-1.0)
    return msg(
        "{layer} ({type}) has the largest share: {log_gain}",
        layer=worst.layer,
        type=worst.type,
        log_gain=fold(worst.log_gain or 0.0),
    )


def _overflown(evidence: Evidence, level: float) -> Finding | None:
    """In half precision what is divided by an infinity: 0, and so is all that goes back through it."""
    dead = [op for op in evidence.probe.operations if op.dtype == "float16" and op.forward.rms == 0]
    if not math.isinf(level) or not dead:
        return None
    first = dead[0]
    return Finding(
        CODE,
        msg("no gradient passes {layer}: its output is exactly 0, in float16", layer=first.layer),
        Cause.PRECISION,
        Severity.ERROR,
        symptom=Symptom.VANISHING,
        unhealthy=True,
        layers=(first.layer,),
        evidence=(
            msg("float16 ends at 65,504: a larger square or sum overflows, and 1 / inf is 0"),
        ),
        advice=(
            msg(
                "compute {layer} in float32 (x.float() before squares and sums) or in bfloat16",
                layer=first.layer,
            ),
        ),
    )


def _nothing(evidence: Evidence) -> Finding:
    loss = evidence.probe.loss
    return Finding(
        CODE,
        msg("no gradient at all: {name} sends back exactly 0 for this batch", name=loss.name),
        Cause.LOSS_HEAD,
        Severity.ERROR,
        symptom=Symptom.VANISHING,
        unhealthy=True,
        evidence=(
            msg(
                "loss {value:.4g}; a sigmoid or softmax that is certain is clipped, and has no slope",
                value=loss.value,
            ),
        ),
        advice=(msg("let the loss read logits, which are never clipped"),),
        explained_by=(Cause.INITIALISATION, Cause.INPUT_DATA, Cause.LOSS_HEAD, Cause.PRECISION),
    )
