"""EG805 dying units: units that worked at the start and are zero for every sample now.

What it finds: an activation more than half of whose units have gone dead while training.

Why it matters: a unit that is zero for all samples has no gradient and stays so; the layer has become narrower
than it was paid for, and everything before it learns through what is left.

How it decides: more than half of the units of the sampled activation are zero throughout, a quarter more than
at the start (measured choice; 1/2 is what symmetry explains in a deep ReLU net), and they still are when
observed last. Units that come back give no finding.

A training whose loss surely ends well below that of a constant answer (three quarters of it, or nine tenths
while it is still falling; where that is not known, of what it began with) does without them, and so does one
that takes turns with another (a GAN's) as long as a hundredth of the units lives.

What to do: a step that was too large usually pushed their biases down: lower the rate or warm it up; or use
LeakyReLU, ELU or GELU, which have no zero region.

References: Lu 2019, Dying ReLU and initialization (1903.06733).
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.learning import collapsed, does_well, too_fast
from evengrad.diagnosis.readings import events_of_kind, layer_figure, medians
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.run import Event, EventKind, Run
from evengrad.values.wording import layers, percent

CODE = "EG805"
SICK = (
    Scenario(dead=0.95, loss="flat"),
    Scenario(dead=0.7, depth=8, loss="flat"),
    Scenario(dead=1.0, loss="flat", noise=0.01, baseline=2.3),
)
HEALTHY = (
    Scenario(),
    Scenario(dead=0.4, loss="flat"),
    Scenario(dead=0.7),
    Scenario(dead=0.7, steps=30, every=1, noise=0.02),
    Scenario(dead=0.95, baseline=2.3),
    Scenario(dead=0.7, loss="flat", interleaved=True),
)
_ALL = 0.99


def check(run: Run) -> Iterable[Finding]:
    """Fire on layers that the monitor saw die and that have not come back."""
    seen = {
        event.layer: event
        for event in events_of_kind(run, EventKind.DYING)
        if event.layer in run.layers
    }
    now = dict(zip(run.layers, medians(layer_figure(run, "dead")[1][-3:]).tolist(), strict=True))
    least = _ALL if run.seen.get("interleaved") else 0.5
    dead = [name for name in run.layers if name in seen and now[name] > least]
    if not dead or does_well(run):
        return
    worst = max(dead, key=lambda name: now[name])
    penalised = dict(run.seen.get("penalised") or ())
    if worst in penalised:
        yield _penalised(worst, penalised[worst], now[worst], seen[worst])
        return
    yield Finding(
        CODE,
        msg(
            "{now} of the units of {worst} have died while training",
            now=percent(now[worst]),
            worst=worst,
        ),
        Cause.LEARNING_RATE,
        Severity.ERROR if now[worst] > _ALL else Severity.WARNING,
        symptom=Symptom.DYING_UNITS,
        layers=tuple(dead),
        evidence=(
            msg("step {step}: {message}", step=seen[worst].step, message=seen[worst].message),
            *([msg("dead by more than half: {dead}", dead=layers(dead))] if dead[1:] else []),
        ),
        advice=(
            *too_fast(run).advice,
            msg("or use LeakyReLU, ELU or GELU, which have no zero region"),
        ),
        explained_by=_explained(run, seen[worst].step),
    )


def _penalised(layer: str, penalty: str, share: float, event: Event) -> Finding:
    """A penalty on a layer's outputs is least where they are 0."""
    return Finding(
        CODE,
        msg(
            "{share} of the units of {layer} have died: the penalty on their outputs outweighs the loss",
            share=percent(share),
            layer=layer,
        ),
        Cause.LOSS_HEAD,
        Severity.ERROR if share > _ALL else Severity.WARNING,
        symptom=Symptom.DYING_UNITS,
        layers=(layer,),
        evidence=(
            msg(
                "{layer} has activity_regularizer={penalty}, which is least where all is 0",
                layer=layer,
                penalty=penalty,
            ),
            msg("step {step}: {message}", step=event.step, message=event.message),
        ),
        advice=(
            msg(
                "lower the activity_regularizer of {layer}, now {penalty}, a thousandfold, or leave it out",
                layer=layer,
                penalty=penalty,
            ),
        ),
    )


def _explained(run: Run, step: int) -> tuple[Cause, ...]:
    """By what made the loss collapse; by a bad batch, where the gradient spiked in the 200 steps before."""
    if collapsed(run) is not None:
        return (Cause.LEARNING_RATE, Cause.INPUT_DATA)
    spikes = [e for e in events_of_kind(run, EventKind.SPIKE) if step - 200 <= e.step <= step]
    return (Cause.BAD_BATCH,) if spikes else ()
