"""EG801 step not finite: a gradient of the run was NaN or infinite.

What it finds: a step whose gradients were not finite, or a loss that was not, and the layer where that
began.

Why it matters: one such step turns every weight into NaN. Clipping makes it worse, and a watch on the loss
alone comes too late: the weights are NaN by the time that the loss shows it.

How it decides: exactly; there is no threshold. The origin comes from the failing step, run again forward and
backward on the weights of before it. The cause: a batch or labels that are not finite; the loss itself; half
precision, where a loss scaler was at work; where the gradient had grown tenfold in the last 64 steps (measured
choice; over the first half of them, or the first quarter of fewer than 16) or an update was larger than its
weights, inputs of a root mean square above 10, else a learning rate too large; otherwise the operation at the
origin, and the loss where none is known.

What to do: see the step again with `evengrad replay RUN`, then fix its origin. In a batch: repair the data. In
a loss: let it read logits. In a division, root or logarithm: add an epsilon. After a growing gradient: lower
the rate or clip.

References: docs/theory.md, Clipping; pytorch#46849; keras.callbacks.TerminateOnNaN.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.learning import raw_inputs, too_fast
from evengrad.diagnosis.readings import events_of_kind, half_precision, matrices, ratios
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.run import Event, EventKind, Run

CODE = "EG801"
SICK = (
    Scenario(refused=EventKind.NON_FINITE, layer="layer1", status="stopped"),
    Scenario(
        steps=12, refused=EventKind.NON_FINITE, action=EventKind.SKIP, layer="labels", phase="batch"
    ),
    Scenario(loss="nan"),
    Scenario(steps=9, grows=3.0, refused=EventKind.NON_FINITE, layer="layer1", inputs=120.0),
    Scenario(steps=9, grows=3.0, refused=EventKind.NON_FINITE, layer="loss"),
)
HEALTHY = (Scenario(), Scenario(refused=EventKind.OVERWRITE, status="stopped"))

_ADVICE = {
    Cause.BAD_BATCH: msg("drop or repair this batch's rows before training"),
    Cause.LOSS_HEAD: msg(
        "look in the loss for a division by 0 (a masked sum over mask.sum()), a logarithm or root "
        "of 0, a mean of nothing: an epsilon or clamp(min=1); let a cross-entropy read logits"
    ),
    Cause.PRECISION: msg("keep this layer in float32, or use bfloat16: float16 ends at 65,504"),
    Cause.LEARNING_RATE: msg("lower the learning rate, warm it up, or clip the gradient's norm"),
    Cause.ARCHITECTURE: msg("guard its argument (add an epsilon; no division by, or log of, 0)"),
    Cause.INITIALISATION: msg(
        "initialise these weights again; a checkpoint with NaN in it cannot be trained on"
    ),
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
            msg("the loss is NaN or infinite from step {first} on", first=first),
            Cause.LOSS_HEAD,
            Severity.ERROR,
            symptom=Symptom.NOT_FINITE,
            unhealthy=True,
            evidence=(
                msg(
                    "{sum} of {number} steps have such a loss", sum=int(bad.sum()), number=len(bad)
                ),
            ),
            advice=(_ADVICE[Cause.LOSS_HEAD],),
        )


def _held(run: Run, events: list[Event]) -> Finding:
    ranked = [event for event in events if "rank" in event.values]
    events = [event for event in events if event not in ranked] or ranked
    first = (ranked or events)[0]
    cause = _cause(run, first)
    where = msg(", from {layer} on", layer=first.layer) if first.layer else ""
    if cause is Cause.BAD_BATCH:
        where = msg(": its {layer} already is not", layer=first.layer or "batch")
    more = (
        [
            msg(
                "{number} such steps, the last one step {step}",
                number=len(events),
                step=events[-1].step,
            )
        ]
        if events[1:]
        else []
    )
    saved = first.values.get("box")
    change: tuple[str, ...] = (_ADVICE[cause],)
    facts: tuple[str, ...] = ()
    if cause is Cause.LEARNING_RATE:
        why = raw_inputs(run) or too_fast(run)
        cause, facts, change = why.cause, why.facts, why.advice
    advice = [*change] + (
        [msg("see it again: evengrad replay {parent}", parent=run.path.parent)] * bool(saved)
    )
    return Finding(
        CODE,
        msg("the gradients of step {step} are not finite{where}", step=first.step, where=where),
        cause,
        Severity.ERROR,
        symptom=Symptom.NOT_FINITE,
        unhealthy=True,
        layers=(first.layer,) if first.layer else (),
        evidence=(*facts, first.message, *more, *_unguarded(run)),
        advice=tuple(advice),
    )


def _unguarded(run: Run) -> list[str]:
    guarded = run.subject.settings.get("guard") is not None
    return [] if guarded else [msg("there was no guard: the step reached the weights")]


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
    return Cause.LOSS_HEAD if event.layer in (None, "loss") else Cause.ARCHITECTURE


def _growth(run: Run, step: int) -> float:
    """The median norm of the last finite steps before it over that of the first ones of the 64 before it."""
    before = run.steps["norm"][run.steps["step"] < step][-64:]
    before = before[np.isfinite(before) & (before > 0)]
    if len(before) < 3:
        return 1.0
    few = len(before) // 4 or 1
    first = before[: len(before) // 2] if len(before) >= 16 else before[:few]
    return float(np.median(before[-min(few, 4) :]) / np.median(first))


def _overwrote(run: Run, step: int) -> bool:
    """Whether an update just before it was larger than a weight matrix."""
    steps, found = ratios(run)
    last = found[steps < step][-3:][:, matrices(run)]
    return bool((last[np.isfinite(last)] > 1).any())
