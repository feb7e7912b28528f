"""EG103 non-finite: a NaN or an infinity, and the operation where it was born.

What it finds: the first operation, in forward order, whose output is not finite while its inputs and
weights are; or a batch or a weight that holds a NaN already; or, going backwards, the first operation whose
input gradient is not finite while its output gradient is. Or a loss that is not finite, while every gradient
is.

Why it matters: one NaN reaches every weight within one step. Clipping makes it worse: with one NaN the
global norm is NaN, and so is every clipped gradient (docs/theory.md, Clipping).

How it decides: exactly; there is no threshold. Values up to 3e38 are measured without overflow, so large
and infinite are told apart.

What to do: fix the origin. In a batch: clean the data. In a loss: let it read logits. In a division,
root or logarithm: add an epsilon. In half precision: scale the loss.

References: docs/theory.md, Clipping; pytorch#46849.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from evengrad.adapters.common.origin import birth
from evengrad.diagnosis.evidence import Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Probe

CODE = "EG103"
SICK = (NetworkCase(input_nan=True), NetworkCase(layers="conv", width=8, input_nan=True))
HEALTHY = (NetworkCase(), NetworkCase(input_scale=1e12))
_SQUARED = 1.8e19  # the square of more is infinite in float32 (a theorem)


def check(evidence: Evidence) -> Iterable[Finding]:
    """Name the origin of the first value that is not finite, forward before backward."""
    found = birth(evidence.probe)
    if found is not None:
        yield Finding(
            CODE,
            found.message,
            found.cause,
            Severity.ERROR,
            symptom=Symptom.NOT_FINITE_AT_START,
            unhealthy=True,
            layers=(found.layer,),
            evidence=(),
            advice=(found.advice,),
        )
    elif evidence.probe.loss.known and not math.isfinite(evidence.probe.loss.value):
        yield _of_loss(evidence.probe)


def _of_loss(probe: Probe) -> Finding:
    """The loss alone: of an element that does not count, as behind a mask."""
    targets, value = probe.loss.targets, probe.loss.value
    largest = 0.0 if targets is None else max(abs(targets.min), abs(targets.max))
    facts = [msg("every gradient is finite: what is not has no part in them, as behind a mask")]
    words = msg(
        "leave out what is not to count by where() or an index before it is squared, divided or logged: a "
        "product with 0 keeps NaN, and inf * 0 is NaN"
    )
    if largest > _SQUARED:
        facts = [
            msg(
                "the targets go up to {largest:.3g}: squared, they overflow float32",
                largest=largest,
            )
        ]
        words = msg(
            "mark what is masked by a number of the data's own size (0, -1), not by {largest:.3g}; or leave it "
            "out by where() before the loss: inf * 0 is NaN",
            largest=largest,
        )
    return Finding(
        CODE,
        msg("the loss of this batch is {value:.4g}", value=value),
        Cause.INPUT_DATA if largest > _SQUARED else Cause.LOSS_HEAD,
        Severity.ERROR,
        symptom=Symptom.NOT_FINITE_AT_START,
        unhealthy=True,
        evidence=tuple(facts),
        advice=(words,),
    )
