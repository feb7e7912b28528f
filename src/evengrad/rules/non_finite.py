"""EG103 non-finite: a NaN or an infinity, and the operation where it was born.

What it finds: the first operation, in forward order, whose output is not finite while its inputs and
weights are; or a batch or a weight that holds a NaN already; or, going backwards, the first operation whose
input gradient is not finite while its output gradient is.

Why it matters: one NaN reaches every weight within one step. Clipping makes it worse: with one NaN the
global norm is NaN, and so is every clipped gradient (PEERS, trap 1).

How it decides: exactly; there is no threshold. Values up to 3e38 are measured without overflow, so large
and infinite are told apart.

What to do: look at the origin. In a batch: clean the data. In a loss: let it read logits. In a division,
root or logarithm: add an epsilon. In half precision: scale the loss.

References: pytorch#46849; PEERS, traps 1 to 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from evengrad.evidence import Evidence
from evengrad.finding import Cause, Finding, Severity
from evengrad.network import Network
from evengrad.probe import Operation, Port, Probe
from evengrad.spec import Kind
from evengrad.wording import percent

CODE = "EG103"
SICK = (Network(input_nan=True), Network(layers="conv", width=8, input_nan=True))
HEALTHY = (Network(), Network(input_scale=1e12))


def check(evidence: Evidence) -> Iterable[Finding]:
    """Name the origin of the first value that is not finite, forward before backward."""
    found = _forward(evidence.probe) or _backward(evidence.probe)
    if found is not None:
        layer, cause, what, advice = found
        yield Finding(
            CODE, what, cause, Severity.ERROR, layers=(layer,), evidence=(), advice=(advice,)
        )


_Origin = tuple[str, Cause, str, str]


def _forward(probe: Probe) -> _Origin | None:
    for given in probe.inputs:
        if given.value.non_finite:
            share = percent(given.value.non_finite)
            what = f"the batch itself is not finite: {share} of {given.name}"
            return given.name, Cause.BAD_BATCH, what, "drop or repair these rows before training"
    if probe.loss.targets is not None and probe.loss.targets.non_finite:
        what = "the labels of the batch are not finite"
        return "labels", Cause.BAD_BATCH, what, "drop or repair these rows before training"
    for weight in probe.weights:
        if weight.value.non_finite:
            what = f"the weights {weight.name} hold values that are not finite"
            advice = "initialise them again; a checkpoint with NaN in it cannot be trained on"
            return weight.name, Cause.INITIALISATION, what, advice
    for op in probe.operations:
        if op.forward.non_finite:
            cause, advice = _why(probe, op)
            what = f"{op.layer} ({op.type}) makes {percent(op.forward.non_finite)} of its output NaN or inf"
            return op.layer, cause, what, advice
    return None


def _backward(probe: Probe) -> _Origin | None:
    for op in reversed(probe.operations):
        if _finite(op.outputs) and not _finite(op.inputs):
            cause = Cause.LOSS_HEAD if op.kind is Kind.LOSS else Cause.ARCHITECTURE
            what = f"the gradient turns NaN or inf in {op.layer} ({op.type}), going backwards"
            advice = "keep its argument away from where its slope is infinite (add an epsilon)"
            return op.layer, cause, what, advice
    if not _finite(probe.outputs):
        what = f"the gradient that {probe.loss.name} sends back is NaN or inf"
        return probe.loss.name, Cause.LOSS_HEAD, what, "let the loss read logits"
    return None


def _finite(ports: tuple[Port, ...]) -> bool:
    return all(math.isfinite(port.norm) for port in ports)


def _why(probe: Probe, op: Operation) -> tuple[Cause, str]:
    if op.kind is Kind.LOSS:
        return Cause.LOSS_HEAD, "let the loss read logits: it then takes no logarithm of 0"
    if op.dtype == "float16":
        return (
            Cause.PRECISION,
            "keep this layer in float32, or use bfloat16: float16 ends at 65,504",
        )
    before = probe.operations[: probe.operations.index(op)]
    largest = max((other.forward.max for other in before), default=0.0)
    if largest > 1e18:
        return Cause.INITIALISATION, "initialise the weights at their variance-keeping scale"
    return Cause.ARCHITECTURE, "guard its argument (add an epsilon; no division by, or log of, 0)"
