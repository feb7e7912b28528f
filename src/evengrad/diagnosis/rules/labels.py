"""EG602 labels out of range or of a wrong kind: the loss is asked for classes that do not exist.

What it finds: class numbers below 0 or not below the number of outputs, fractions where whole class
numbers are due, and (EG931 says more of them) targets outside [0, 1] of other cross-entropies.

Why it matters: PyTorch and TensorFlow on a CPU stop with an error; on a GPU or on JAX the loss is
NaN or quietly wrong. Labels of 1..10 for 10 outputs are the usual slip.

How it decides: exactly, on the first batch. torch's ``ignore_index`` counts as no label.

What to do: number the classes from 0, or give the last layer as many outputs as there are classes.

References: torch.nn.CrossEntropyLoss; keras.losses.SparseCategoricalCrossentropy.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.diagnosis.evidence import Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Loss, Targets

CODE = "EG602"
SICK = (NetworkCase(label_offset=1), NetworkCase(layers="conv", width=16, label_offset=-1))
HEALTHY = (NetworkCase(), NetworkCase(loss="mse"))


def check(evidence: Evidence) -> Iterable[Finding]:
    """Compare the labels with what the loss can take."""
    loss = evidence.probe.loss
    if loss.targets is None or loss.targets.non_finite:
        return
    judged = evidence.probe.frontend == "torch"  # each loss call, with its line and weights
    judged = judged or any(fact.kind == "targets_outside" for fact in evidence.probe.facts)
    wrong = _numbers(loss, loss.targets) or (None if judged else _range(loss, loss.targets))
    if wrong is not None:
        what, advice = wrong
        seen = msg(
            "labels from {min:g} to {max:g} ({dtype})",
            min=loss.targets.min,
            max=loss.targets.max,
            dtype=loss.targets.dtype,
        )
        yield Finding(
            CODE, what, Cause.INPUT_DATA, Severity.ERROR, evidence=(seen,), advice=(advice,)
        )


def _numbers(loss: Loss, targets: Targets) -> tuple[str, str] | None:
    if loss.family == "sparse_categorical" and loss.classes is not None:
        if not targets.integral:
            return (
                msg(
                    "{name} takes whole class numbers, but the labels have fractions",
                    name=loss.name,
                ),
                msg("use a categorical cross-entropy for probabilities as labels"),
            )
        low = targets.min < 0 and targets.min != loss.ignored
        if low or (targets.max >= loss.classes and targets.max != loss.ignored):
            return (
                msg(
                    "labels are out of range: {min:g} to {max:g} for "
                    "{classes} classes, numbered 0 to {classes2}",
                    min=targets.min,
                    max=targets.max,
                    classes=loss.classes,
                    classes2=loss.classes - 1,
                ),
                msg("number the classes from 0, or give the last layer one output a class"),
            )
    return None


def _range(loss: Loss, targets: Targets) -> tuple[str, str] | None:
    outside = targets.min < 0 or targets.max > 1
    if loss.family in {"categorical", "binary"} and outside:
        return (
            msg(
                "{name} takes targets in [0, 1], but they go from {min:g} to {max:g}",
                name=loss.name,
                min=targets.min,
                max=targets.max,
            ),
            msg("encode yes and no as 1 and 0, and classes one-hot"),
        )
    return None
