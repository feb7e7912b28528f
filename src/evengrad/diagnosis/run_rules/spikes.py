"""EG803 gradient spikes: single steps whose gradient is many times its neighbours'.

What it finds: steps whose gradient norm stands far out of the last 128.

Why it matters: plain gradient descent takes the whole step. Adam takes a bounded one, but its mean of squares
remembers: after a spike of factor R the weights hardly move for about ln(R^2 (1-b2) / 3) / -ln(b2) steps,
5,807 of them for R = 1000 and b2 = 0.999.

How it decides: a norm 8 robust standard deviations of its logarithm, and threefold, above the median of the
last 128 steps is a spike (measured choice). A single one below tenfold after the clip is left alone, as noise
of the data; three or more, one of tenfold, or one that the guard refused, count. Where the loss ends surely
below what it was in the 20 steps before the tallest, or not above that and far below a constant answer's, the
training has got over it: no finding, unless the guard refused a step, or Adam stood still after it; nor for one
or two where the loss takes either sign in a tenth of the steps or more, as a policy's does, whose gradients are
as uneven as its returns. More than one in 200 steps is the learning rate's
doing, a rare one a batch's.

What to do: inspect the batches of these steps; for Adam a smaller b2 (0.95) forgets in tens of steps instead of
thousands; clip the norm (auto), warm the rate up, or skip such steps with --guard skip.

References: Gilmer 2021 (2110.04369); Wortsman 2023 (2304.13013); ZClip (2504.02507).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.learning import Z99, does_well, end, level, takes_either_sign, too_fast
from evengrad.diagnosis.readings import adam_like, events_of_kind, half_precision, losses
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.run import Event, EventKind, Run

CODE = "EG803"
SICK = (
    Scenario(spikes=(300,), optimizer="Adam", after_spike=2.0),
    Scenario(spikes=(100, 200, 300, 400), spike=8.0, loss="flat"),
    Scenario(refused=EventKind.SPIKE, status="stopped"),
)
HEALTHY = (
    Scenario(),
    Scenario(noise=0.5),
    Scenario(spikes=(300,), clip=2.0),
    Scenario(seed=5),
    Scenario(spikes=(100, 200), optimizer="Adam"),
)
_SOME = 3
_BETA2 = 0.999  # Adam's default, in both frameworks


def check(run: Run) -> Iterable[Finding]:
    """Fire where spikes are many, tall, or were refused."""
    spikes = events_of_kind(run, EventKind.SPIKE)
    if not spikes:
        return
    factors = [factor(run, spike) for spike in spikes]
    worst = max(range(len(spikes)), key=lambda i: factors[i])
    held = any("box" in spike.values for spike in spikes)
    stalled = bool(_stall(run, factors[worst]))
    harmless = _over(run, spikes[worst].step, stalled) or (
        len(spikes) < _SOME and takes_either_sign(run)
    )
    if not held and ((max(factors) < 10 and len(spikes) < _SOME) or harmless):
        return
    often = len(spikes) >= 3 and len(spikes) * 200 > len(run.steps["step"])
    steps = ", ".join(str(spike.step) for spike in spikes[:5]) + (", ..." if spikes[5:] else "")
    evidence = [
        msg("step {step}: {message}", step=spikes[worst].step, message=spikes[worst].message),
        *_stall(run, factors[worst]),
    ]
    many = msg(
        "{number} spikes of the gradient's norm, at steps {steps}", number=len(spikes), steps=steps
    )
    yield Finding(
        CODE,
        many
        if spikes[1:]
        else msg("the gradient's norm spikes at step {step}", step=spikes[0].step),
        Cause.LEARNING_RATE if often else Cause.BAD_BATCH,
        Severity.WARNING,
        symptom=Symptom.SPIKES,
        evidence=tuple(evidence),
        advice=tuple(_advice(run, often)),
        explained_by=_explained(run, spikes[0]),
    )


def _over(run: Run, step: int, stalled: bool) -> bool:
    """Whether the loss ends surely below the steps before that one, twenty of them or more after it; or not
    above them, well as it is.
    """
    steps, loss = losses(run)
    before, after = loss[steps < step][-20:], loss[steps > step]
    if len(before) < 10 or len(after) < 20:
        return False
    then, now = level(before), end(after)
    fall, error = then.mean - now.mean, math.hypot(then.error, now.error)
    return fall > Z99 * error or (not stalled and fall > -Z99 * error and does_well(run))


def _explained(run: Run, first: Event) -> tuple[Cause, ...]:
    """By half precision, where a scaler speaks; by the rate, where units died or the loss rose before."""
    before = [
        e for e in events_of_kind(run, EventKind.DYING, EventKind.DIVERGENCE) if e.step < first.step
    ]
    rate = (Cause.LEARNING_RATE,) if before else ()
    return rate + ((Cause.PRECISION,) if half_precision(run) else ())


def factor(run: Run, spike: Event) -> float:
    """What reached the optimizer, as a multiple of the median before; 1 where the guard held it back."""
    median = spike.values.get("median")
    if not isinstance(median, float) or median <= 0:
        return 1.0
    at = run.steps["step"] == spike.step
    clipped = run.steps["clipped"][at]
    reached = float(clipped[0]) if len(clipped) and math.isfinite(clipped[0]) else math.inf
    return min(reached, float(spike.values["norm"])) / median


def stall(ratio: float, beta2: float) -> float:
    """Steps for which Adam hardly moves after a spike of that factor."""
    inside = ratio**2 * (1 - beta2) / 3
    return math.log(inside) / -math.log(beta2) if inside > 1 else 0.0


def _stall(run: Run, ratio: float) -> list[str]:
    beta2 = float(run.subject.settings.get("beta2") or _BETA2)
    steps = stall(ratio, beta2) if adam_like(run) else 0.0
    if steps < 20:
        return []
    return [
        msg(
            "{optimizer} hardly moves for about {steps:,.0f} steps after it (b2 = {beta2:g})",
            optimizer=run.subject.optimizer,
            steps=steps,
            beta2=beta2,
        )
    ]


def _advice(run: Run, often: bool) -> list[str]:
    first = (
        too_fast(run).advice[0]
        if often
        else msg("inspect the batches of these steps: mislabelled, empty or far out of range?")
    )
    clip = (
        [] if run.subject.settings.get("clip") else [msg("clip the norm: evengrad run --clip auto")]
    )
    return [first, *clip]
