"""EG801 step not finite: a gradient of the run was NaN or infinite.

What it finds: a step whose gradients were not finite, or a loss that was not, and the layer where that
began.

Why it matters: one such step turns every weight into NaN. Clipping makes it worse, and a watch on the loss
alone comes too late: the weights are NaN by the time that the loss shows it.

How it decides: exactly; there is no threshold. The origin comes from the failing step, run again forward and
backward on the weights of before it. The cause: a batch or labels that are not finite; the loss itself; half
precision, where a loss scaler was at work; a learning rate too large, where the gradient had grown tenfold in
the last 64 steps (a measured choice) or an update was larger than its weights; otherwise the operation at the
origin.

What to do: see the step again with `evengrad replay RUN`, then fix its origin. In a batch: repair the data. In
a loss: let it read logits. In a division, root or logarithm: add an epsilon. After a growing gradient: lower
the rate or clip.

References: docs/theory.md, Clipping; pytorch#46849; keras.callbacks.TerminateOnNaN.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.readings import events_of_kind, half_precision, matrices, ratios
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.run import Event, EventKind, Run

CODE = "EG801"
SICK = (
    Scenario(refused=EventKind.NON_FINITE, layer="layer1", status="stopped"),
    Scenario(
        steps=12, refused=EventKind.NON_FINITE, action=EventKind.SKIP, layer="labels", phase="batch"
    ),
    Scenario(loss="nan"),
)
HEALTHY = (Scenario(), Scenario(refused=EventKind.OVERWRITE, status="stopped"))

_ADVICE = {
    Cause.BAD_BATCH: "drop or repair this batch's rows before training",
    Cause.LOSS_HEAD: "let the loss read logits: it then takes no logarithm of 0",
    Cause.PRECISION: "keep this layer in float32, or use bfloat16: float16 ends at 65,504",
    Cause.LEARNING_RATE: "lower the learning rate, warm it up, or clip the gradient's norm",
    Cause.ARCHITECTURE: "guard its argument (add an epsilon; no division by, or log of, 0)",
    Cause.INITIALISATION: "initialise these weights again; a checkpoint with NaN in it cannot be trained on",
}


def check(run: Run) -> Iterable[Finding]:
    """Fire on the first step that was not finite."""
    events = events_of_kind(run, EventKind.NON_FINITE)
    if events:
        yield _held(run, events)
        return
    bad = run.without_loss
    if bad.sum() >= 3:  # a single one may be a batch without a loss
        first = int(run.steps["step"][bad.argmax()])
        yield Finding(
            CODE,
            f"the loss is NaN or infinite from step {first} on",
            Cause.LOSS_HEAD,
            Severity.ERROR,
            symptom=Symptom.NOT_FINITE,
            unhealthy=True,
            evidence=(f"{int(bad.sum())} of {len(bad)} steps have such a loss",),
            advice=(_ADVICE[Cause.LOSS_HEAD],),
        )


def _held(run: Run, events: list[Event]) -> Finding:
    first = events[0]
    cause = _cause(run, first)
    where = f", from {first.layer} on" if first.layer else ""
    if cause is Cause.BAD_BATCH:
        where = f": its {first.layer or 'batch'} already is not"
    more = [f"{len(events)} such steps, the last one step {events[-1].step}"] if events[1:] else []
    saved = first.values.get("box")
    advice = [_ADVICE[cause]] + ([f"see it again: evengrad replay {run.path.parent}"] * bool(saved))
    return Finding(
        CODE,
        f"the gradients of step {first.step} are not finite{where}",
        cause,
        Severity.ERROR,
        symptom=Symptom.NOT_FINITE,
        unhealthy=True,
        layers=(first.layer,) if first.layer else (),
        evidence=(first.message, *more, *_unguarded(run)),
        advice=tuple(advice),
    )


def _unguarded(run: Run) -> list[str]:
    guarded = run.subject.settings.get("guard") is not None
    return [] if guarded else ["there was no guard: the step reached the weights"]


def _cause(run: Run, event: Event) -> Cause:
    """From where it began, and what the gradient did before."""
    phase = event.values.get("phase")
    if phase == "weights":
        return Cause.INITIALISATION
    if phase == "batch" or (phase is None and event.layer in ("input", "labels")):
        return Cause.BAD_BATCH
    if half_precision(run):
        return Cause.PRECISION
    if _growth(run, event.step) > 10 or _overwrote(run, event.step):
        return Cause.LEARNING_RATE
    return Cause.LOSS_HEAD if event.layer == "loss" else Cause.ARCHITECTURE


def _growth(run: Run, step: int) -> float:
    """The median norm of the 4 finite steps before it over that of the first half of the 64 before it."""
    before = run.steps["norm"][run.steps["step"] < step][-64:]
    before = before[np.isfinite(before) & (before > 0)]
    if len(before) < 16:
        return 1.0
    return float(np.median(before[-4:]) / np.median(before[: len(before) // 2]))


def _overwrote(run: Run, step: int) -> bool:
    """Whether an update just before it was larger than a weight matrix."""
    steps, found = ratios(run)
    last = found[steps < step][-3:][:, matrices(run)]
    return bool((last[np.isfinite(last)] > 1).any())
