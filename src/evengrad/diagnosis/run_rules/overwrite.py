"""EG802 overwriting update: a step whose update is larger than the weights that it changes.

What it finds: a step of plain gradient descent after which a weight matrix would hold less of itself than of
the update.

Why it matters: whatever the matrix had learnt, or its careful initialisation, is gone in one step; the next
gradient is taken somewhere else entirely, and usually grows further.

How it decides: rate * norm(gradient after the clip) / norm(weights) above 1 in a matrix, by definition of
overwriting, as in EG701. Adam and its kin bound their own steps, so it is not asked of them. Where the first
trained layer is given values of a root mean square above 10 (as in EG601), these are the cause: the gradient of
its weights is the input times the error.

What to do: lower the learning rate so that the ratio comes to the usual 1e-4 to 1e-1 (TheDeepChecker,
2204.00694), warm it up, or clip the norm. Raw inputs: normalise them. Where `evengrad check` reports
an exploding gradient, fix that first.

References: TheDeepChecker (2204.00694); Gilmer 2021 (2110.04369).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.learning import raw_inputs
from evengrad.diagnosis.rate_advice import lower
from evengrad.diagnosis.readings import events_of_kind, matrices, rate_at, tensor_figure
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.run import EventKind, Run
from evengrad.values.wording import times

CODE = "EG802"
SICK = (
    Scenario(refused=EventKind.OVERWRITE, layer="layer0", status="stopped"),
    Scenario(steps=3, refused=EventKind.OVERWRITE, action=EventKind.ROLLBACK, rate=40.0, norm=90.0),
    Scenario(steps=1, refused=EventKind.OVERWRITE, layer="layer0", inputs=170.0, status="stopped"),
)
HEALTHY = (Scenario(), Scenario(refused=EventKind.NON_FINITE, status="stopped"))


def check(run: Run) -> Iterable[Finding]:
    """Fire on the first step that the guard saw overwrite weights."""
    events = events_of_kind(run, EventKind.OVERWRITE)
    if not events:
        return
    first = events[0]
    found = _worst(run, first.step)
    rate = rate_at(run, first.step)
    title = msg(
        "the update of step {step} is larger than the weights that it changes", step=first.step
    )
    evidence = [first.message] + (
        [msg("{number} such steps", number=len(events))] if events[1:] else []
    )
    advice: list[str] = [
        msg("lower the learning rate, warm it up, or clip: evengrad run --clip auto")
    ]
    layers: tuple[str, ...] = (first.layer,) if first.layer else ()
    if found is not None:
        layer, ratio = found
        layers = (layer,)
        title = msg(
            "the update of step {step} is {ratio} the weights of {layer}",
            step=first.step,
            ratio=times(ratio),
            layer=layer,
        )
        better = lower(rate, ratio) if math.isfinite(rate) and rate > 0 else None
        if better is not None:
            advice[0] = msg(
                "lower the learning rate, now {rate:g}, to {better:g}, or clip the norm",
                rate=rate,
                better=better,
            )
    if (raw := raw_inputs(run)) is not None:
        evidence, advice = [*raw.facts, *evidence], list(raw.advice)
    yield Finding(
        CODE,
        title,
        Cause.LEARNING_RATE if raw is None else raw.cause,
        Severity.ERROR,
        symptom=Symptom.OVERWRITING,
        unhealthy=True,
        layers=layers,
        evidence=tuple(evidence),
        advice=tuple(advice),
    )


def _worst(run: Run, step: int) -> tuple[str, float] | None:
    """The matrix with the largest ratio in that step, counted as the guard does; None where not kept."""
    tensors = run.subject.tensors
    rows = run.recent["step"] == step
    if not rows.any():
        return None
    steps, weights = tensor_figure(run, "weight_rms")
    before = np.vstack([np.zeros(len(tensors)), weights[steps <= step]])[-1]
    gradient = np.full(len(tensors), np.nan)
    gradient[run.recent["tensor"][rows]] = run.recent["gradient_rms"][rows]
    at = int(np.flatnonzero(run.steps["step"] == step)[0])
    scale = float(run.steps["rate"][at] * run.steps["coefficient"][at])
    size = {i: max(float(before[i]), (tensors[i].fan_in or 1.0) ** -0.5) for i in matrices(run)}
    ratios = {i: scale * float(gradient[i]) / size[i] for i in size}
    finite = {i: ratio for i, ratio in ratios.items() if math.isfinite(ratio)}
    if not finite:
        return None
    worst = max(finite, key=finite.__getitem__)
    return (tensors[worst].layer, finite[worst]) if finite[worst] > 1 else None
