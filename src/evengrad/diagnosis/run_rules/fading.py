"""EG806 vanishing in a run: the first layers get next to no gradient.

What it finds: a gradient of the first weight matrix that is a thousandth of the last one's: since an onset
while training, or from the start.

Why it matters: the first layers stop learning, and the loss may look as if it had converged.

How it decides: relative to the last matrix, never by an absolute size: the ratio is below 1e-3 (AutoTrainer's
figure) in the last five observed steps, and either it fell by as much since the first five (an onset) or was
below in them.
A training whose loss surely ends well below that of a constant answer, or of its beginning where that is not
known, does well with it: no finding.
A gradient that shrinks everywhere, as in every training that converges, does not count. What was well in
the first one and is not now was driven there by the steps: the cause is the rate, or inputs of a root mean
square above 10, whatever has no slope now.

Where a thousandth is left of what was small before the first update (in the queries of a transformer it is),
the steps did that, too. One that was gone before the first update is the inputs' doing where these have a root
mean square above 10, the activations' where half of one is saturated or dead, the depth's from eight matrices
on, else the initialisation's.

What to do: inspect the activations between both: saturated tanh or sigmoid, dead units. Lower the rate that
drove them there; normalise, or add skip connections.

References: AutoTrainer (ICSE 2021); Glorot 2010.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.learning import does_well, raw_inputs, shrunk, too_fast
from evengrad.diagnosis.readings import (
    events_of_kind,
    first_to_last,
    layer_figure,
    matrices,
    medians,
    tensor_figure,
)
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.run import EventKind, Run
from evengrad.values.wording import percent

CODE = "EG806"
SICK = (
    Scenario(vanishing=1e8, loss="flat"),
    Scenario(vanishing=1e8, saturated=0.9, loss="flat"),
    Scenario(vanished=1e6, loss="flat"),
    Scenario(vanished=1e6, vanished_at=5, loss="flat"),
)
HEALTHY = (
    Scenario(),
    Scenario(vanishing=100.0, loss="flat"),
    Scenario(norm=1e-6),
    Scenario(vanished=1e6),
)
_LOW = 1e-3
_DEEP = 8
"""Weight matrices below which depth is no reason; measured choice."""
_SOON = msg("it was well before the first update, and gone a few steps later")


def check(run: Run) -> Iterable[Finding]:
    """Fire where it is so at the end, and the monitor saw it begin or it was so from the start."""
    events = events_of_kind(run, EventKind.VANISHING)
    own = matrices(run)
    if len(own) < 2 or does_well(run):
        return
    gradients = tensor_figure(run, "gradient_rms")[1]
    now = first_to_last(gradients[-5:], own)
    if not now < _LOW or not (events or first_to_last(gradients[:5], own) < _LOW):
        return
    began = first_to_last(gradients[:1], own)
    if not events and began < _LOW and not now < _LOW * began:
        yield _from_the_start(run, own, now)
        return
    why = raw_inputs(run) or shrunk(run) or too_fast(run)
    drove = msg(": it drove the activations where they have no slope")
    soon = (
        _SOON
        if began >= _LOW
        else msg("it was {began:.2g} of it before the first update", began=began)
    )
    since = (
        [msg("step {step}: {message}", step=events[0].step, message=events[0].message)]
        if events
        else [soon]
    )
    yield Finding(
        CODE,
        msg(
            "the gradient of {layer} vanishes while training: {now:.2g} of that of {layer2}",
            layer=run.subject.tensors[own[0]].layer,
            now=now,
            layer2=run.subject.tensors[own[-1]].layer,
        ),
        why.cause,
        Severity.WARNING,
        symptom=Symptom.FADING,
        unhealthy=True,
        layers=(run.subject.tensors[own[0]].layer,),
        evidence=(*why.facts, *since, *_where(run)),
        advice=(
            why.advice[0] + (drove if why.cause is Cause.LEARNING_RATE else ""),
            *(
                [msg("normalise between the layers, or add skip connections")]
                if len(own) >= _DEEP
                else []
            ),
        ),
    )


def _from_the_start(run: Run, own: list[int], ratio: float) -> Finding:
    tensors, raw, slopes = run.subject.tensors, raw_inputs(run), _where(run)
    cause = Cause.ARCHITECTURE if len(own) >= _DEEP else Cause.INITIALISATION
    cause = Cause.ACTIVATION if slopes else cause
    words = msg(
        "evengrad check {script}: one probe tells how much is due to initialisation, activations and depth",
        script=run.subject.script or msg("the script"),
    )
    return Finding(
        CODE,
        msg(
            "the gradient of {layer} is {ratio:.2g} of that of {layer2}, from the start",
            layer=tensors[own[0]].layer,
            ratio=ratio,
            layer2=tensors[own[-1]].layer,
        ),
        cause if raw is None else raw.cause,
        Severity.ERROR,
        symptom=Symptom.FADING,
        unhealthy=True,
        layers=(tensors[own[0]].layer,),
        evidence=(
            *(() if raw is None else raw.facts),
            msg("it was so before the first update"),
            *slopes,
        ),
        advice=(
            *(() if raw is None else raw.advice),
            words,
        ),
    )


def _where(run: Run) -> list[str]:
    """The activation that has no slope left, where there is one."""
    for figure, words in (("saturated", msg("saturated")), ("dead", msg("dead"))):
        now = medians(layer_figure(run, figure)[1][-3:])
        if len(now) and np.nanmax(np.append(now, 0)) > 0.5:
            worst = int(np.nanargmax(now))
            return [
                msg(
                    "{now} of {layers} is {words}",
                    now=percent(now[worst]),
                    layers=run.layers[worst],
                    words=words,
                )
            ]
    return []
