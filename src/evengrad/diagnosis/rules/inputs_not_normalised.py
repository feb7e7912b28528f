"""EG601 inputs not normalised: the first weights see values of the wrong size.

What it finds: values of a root mean square above 10 or below 0.01 at the first layer with weights, or tabular
columns whose sizes differ more than a hundredfold.

Why it matters: the gradient of the first weights is the input times the error. Pixels of 0 to 255
make it a hundred times too large, saturate sigmoids and tanhs, and fill the logits with hundreds.

How it decides: at the first weights, behind any rescaling that the model does itself, and not where a
normalisation follows these weights. LeCun 1998 asks for unit variance; the bounds, a factor of 10 above and
100 below, are a measured choice: images scaled to [0, 1] have 0.3 to 0.6, sparse ones 0.1.

What to do: subtract the mean and divide by the standard deviation of the training set.

References: LeCun 1998, Efficient BackProp, section 4.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from evengrad.diagnosis.causes import Scale
from evengrad.diagnosis.evidence import Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.probe import Input
from evengrad.values.spec import Kind

CODE = "EG601"
SICK = (NetworkCase(input_scale=80.0), NetworkCase(layers="conv", width=16, input_scale=0.002))
HEALTHY = (
    NetworkCase(),
    NetworkCase(input_scale=0.3, input_shift=0.13),
    NetworkCase(input_scale=80.0, normalisation="batch"),
)

_LARGE, _SMALL, _COLUMNS = 10.0, 0.01, 100.0


def check(evidence: Evidence) -> Iterable[Finding]:
    """Judge what the first weights are given."""
    scaled = {scale.operation: scale for scale in evidence.shares.scales}
    for given in evidence.probe.inputs:
        first = _first_weights(evidence, given)
        if first is None or first not in scaled:
            continue
        finding = _judge(given, scaled[first], _seen_rms(evidence, first, given))
        if finding is not None:
            yield finding


def _judge(given: Input, scale: Scale, rms: float) -> Finding | None:
    columns = [value for value in given.feature_rms if value > 0]
    if not (rms > _LARGE or 0 < rms < _SMALL):
        if not columns or max(columns) <= _COLUMNS * median(columns):
            return None
        what = (
            f"the columns of {given.name} differ {max(columns) / median(columns):.0f}-fold in size"
        )
    else:
        what = f"the input {given.name} is not normalised: {scale.layer} sees an rms of {rms:.3g}"
    return Finding(
        CODE,
        what,
        Cause.INPUT_DATA,
        Severity.WARNING,
        symptom=Symptom.INPUT_SCALE,
        layers=(scale.layer,),
        evidence=(
            f"mean {given.value.mean:.3g}, sd {given.value.std:.3g}, max {given.value.max:.3g}",
        ),
        advice=("subtract the training set's mean and divide by its standard deviation",),
    )


def _first_weights(evidence: Evidence, given: Input) -> str | None:
    """The first layer with weights that this input reaches without passing a normalisation."""
    if given.port is None:
        return None
    reached = {given.port.tensor}
    for op in evidence.probe.operations:
        if any(port.tensor in reached for port in op.inputs):
            if op.kind is Kind.WEIGHTS:
                return op.name
            if op.kind is Kind.NORMALISATION:
                return None
            reached.update(port.tensor for port in op.outputs)
    return None


def _seen_rms(evidence: Evidence, first: str, given: Input) -> float:
    op = next(op for op in evidence.probe.operations if op.name == first)
    for maker in evidence.probe.operations:
        if any(port.tensor == op.inputs[0].tensor for port in maker.outputs):
            return maker.forward.rms
    return given.value.rms
