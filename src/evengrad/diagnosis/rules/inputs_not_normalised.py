"""EG601 inputs not normalised: the first weights see values of the wrong size.

What it finds: values of a root mean square above 10 at the first layer with weights, which makes values as
large of them, or below 0.01, or tabular columns whose sizes differ more than a hundredfold.

Why it matters: the gradient of the first weights is the input times the error. Pixels of 0 to 255
make it a hundred times too large, saturate sigmoids and tanhs, and fill the logits with hundreds.

How it decides: at the first weights, behind any rescaling that the model does itself, and not where a
normalisation follows these weights. LeCun 1998 asks for unit variance; the bounds, a factor of 10 above and 100
below, are a measured choice: images scaled to [0, 1] have 0.3 to 0.6, sparse ones 0.1. Large values that these
weights bring down are no finding; a recurrent layer's gates are full with them whatever it gives.

What to do: subtract the mean and divide by the standard deviation of the training set.

References: LeCun 1998, Efficient BackProp, section 4.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from evengrad.diagnosis.advice import NORMALISE
from evengrad.diagnosis.evidence import Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Input, Operation
from evengrad.values.spec import Kind

CODE = "EG601"
SICK = (NetworkCase(input_scale=80.0), NetworkCase(layers="conv", width=16, input_scale=0.002))
HEALTHY = (
    NetworkCase(),
    NetworkCase(input_scale=0.3, input_shift=0.13),
    NetworkCase(input_scale=80.0, normalisation="batch"),
)

_LARGE, _SMALL, _COLUMNS = 10.0, 0.01, 100.0
_FEW = 16  # numbers, of which a small size says something: one state of a game is none


def check(evidence: Evidence) -> Iterable[Finding]:
    """Judge what the first weights are given."""
    for given in evidence.probe.inputs:
        first = _first_weights(evidence, given)
        if first is None or first.name in evidence.shares.absorbed:
            continue
        what = _judge(given, first, evidence.rms_into(first))
        if what is not None:
            yield _finding(given, first, what)


def _judge(given: Input, first: Operation, rms: float) -> str | None:
    name = given.name if given.name == "input" else msg("input {name}", name=given.name)
    made = rms if first.kind is Kind.RECURRENT else first.forward.rms
    if min(rms, made) > _LARGE or (0 < rms < _SMALL and given.value.size >= _FEW):
        return msg(
            "the {name} is not normalised: {layer} sees an rms of {rms:.3g}",
            name=name,
            layer=first.layer,
            rms=rms,
        )
    columns = [value for value in given.feature_rms if value > 0]
    if columns and max(columns) > _COLUMNS * median(columns):
        return msg(
            "the columns of the {name} differ {columns:,.0f}-fold in size",
            name=name,
            columns=max(columns) / median(columns),
        )
    return None


def _finding(given: Input, first: Operation, what: str) -> Finding:
    value = given.value
    return Finding(
        CODE,
        what,
        Cause.INPUT_DATA,
        Severity.WARNING,
        symptom=Symptom.INPUT_SCALE,
        layers=(first.layer,),
        evidence=(
            msg(
                "mean {mean:.3g}, sd {std:.3g}, max {max:.3g}",
                mean=value.mean,
                std=value.std,
                max=value.max,
            ),
        ),
        advice=(NORMALISE,),
    )


def _first_weights(evidence: Evidence, given: Input) -> Operation | None:
    """The first operation with weights that this input reaches without passing a normalisation."""
    if given.port is None:
        return None
    reached = {given.port.tensor}
    for op in evidence.probe.operations:
        if any(port.tensor in reached for port in op.inputs):
            if op.kind is Kind.NORMALISATION:
                return None
            if op.weights:
                return op
            reached.update(port.tensor for port in op.outputs)
    return None
