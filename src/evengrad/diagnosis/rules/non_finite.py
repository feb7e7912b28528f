"""EG103 non-finite: a NaN or an infinity, and the operation where it was born.

What it finds: the first operation, in forward order, whose output is not finite while its inputs and
weights are; or a batch or a weight that holds a NaN already; or, going backwards, the first operation whose
input gradient is not finite while its output gradient is.

Why it matters: one NaN reaches every weight within one step. Clipping makes it worse: with one NaN the
global norm is NaN, and so is every clipped gradient (docs/theory.md, Clipping).

How it decides: exactly; there is no threshold. Values up to 3e38 are measured without overflow, so large
and infinite are told apart.

What to do: fix the origin. In a batch: clean the data. In a loss: let it read logits. In a division,
root or logarithm: add an epsilon. In half precision: scale the loss.

References: docs/theory.md, Clipping; pytorch#46849.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.adapters.common.origin import birth
from evengrad.diagnosis.evidence import Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Finding, Severity, Symptom

CODE = "EG103"
SICK = (NetworkCase(input_nan=True), NetworkCase(layers="conv", width=8, input_nan=True))
HEALTHY = (NetworkCase(), NetworkCase(input_scale=1e12))


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
