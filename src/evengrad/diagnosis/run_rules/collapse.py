"""EG811 collapse: the loss had been better, and has been no better than a constant answer since.

What it finds: a training, or the fine-tuning of weights that were trained before, that was better than the best
constant answer at its first step or later, and then fell back on that and stayed there.

Why it matters: what had been learnt is gone, and it does not come back: the outputs are the same for all
inputs, or the units before them dead.

How it decides: the last quarter of the losses is not below the baseline of EG810, by the same test, while the
first loss, or the mean of five in a row, lay below four fifths of it and by more than five standard deviations
of the run's own noise; or the first loss, which is the untrained network's, lies by half of itself below the
last quarter. Where no baseline is known: the last half of a positive loss lies flat, at twice or more of what
it had been, with a jump to twice that in between. The cause is the learning rate where the loss or an update
jumped just before; a bad batch where only the gradient did.

What to do: lower the learning rate tenfold, or warm it up. Weights that were trained before take a tenth to a
hundredth of the rate that trained them.

References: Mosbach 2021, On the stability of fine-tuning BERT (2006.04884).
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.learning import (
    baseline,
    collapsed,
    end,
    judged,
    loose,
    raw_inputs,
    still_falling,
    thrown,
    too_fast,
)
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.run import Floats, Run

CODE = "EG811"
SICK = (
    Scenario(loss="collapses", noise=0.02, baseline=2.3),
    Scenario(loss="collapses", noise=0.02, baseline=2.3, steps=60),
    Scenario(loss="thrown", noise=0.05),
    Scenario(loss="thrown", noise=0.05, steps=80),
)
HEALTHY = (
    Scenario(baseline=2.3),
    Scenario(loss="flat", noise=0.5, baseline=2.3),
    Scenario(loss="collapses", noise=0.02, baseline=9.0),
    Scenario(loss="rises", noise=0.02, baseline=2.3),
)
_FIRST = 3


def check(run: Run) -> Iterable[Finding]:
    """Fire where it had been surely better."""
    loss, found = judged(run), collapsed(run)
    if loss is not None and found is None and (top := thrown(run)) is not None:
        yield _thrown(run, loss, *top)
    if loss is None or found is None:
        return
    at, best = found
    last, bound = end(loss), baseline(run)
    if bound is not None and loose(run) and last.mean < bound:
        bound = None
    step = int(run.steps["step"][at])
    constant = (
        "" if bound is None else msg(", no better than a constant answer, {bound:.4g}", bound=bound)
    )
    soon = at < _FIRST
    why = raw_inputs(run) or too_fast(run)
    advice = list(why.advice)
    if soon and why.cause is Cause.LEARNING_RATE:
        advice.append(
            msg(
                "weights that are trained already take a tenth to a hundredth of the rate that trained them"
            )
        )
    peak = float(loss[at:].max())
    yield Finding(
        CODE,
        msg(
            "the loss collapsed after step {step}: from {best:.3g} to {mean:.4g}{constant}",
            step=step,
            best=best,
            mean=last.mean,
            constant=constant,
        ),
        why.cause,
        Severity.ERROR,
        symptom=Symptom.DIVERGING,
        unhealthy=True,
        evidence=(
            *why.facts,
            msg(
                "it had been {best:.3g} {when}, rose to {peak:.3g} and came to rest at {mean:.4g}",
                best=best,
                when=msg("at its first step") if soon else msg("around step {step}", step=step),
                peak=peak,
                mean=last.mean,
            ),
        ),
        advice=tuple(advice),
    )


def _thrown(run: Run, loss: Floats, at: int, peak: float) -> Finding:
    last, why = end(loss), raw_inputs(run) or too_fast(run)
    step = int(run.steps["step"][at])
    rests = (
        msg("it is still at {mean:.4g}", mean=last.mean)
        if still_falling(loss)
        else msg("it has come to rest at {mean:.4g}, and falls no more", mean=last.mean)
    )
    return Finding(
        CODE,
        msg(
            "the first steps threw the training: the loss went from {loss:.3g} to {peak:.3g} at step {step}",
            loss=loss[0],
            peak=peak,
            step=step,
        ),
        why.cause,
        Severity.ERROR,
        symptom=Symptom.DIVERGING,
        unhealthy=True,
        evidence=(*why.facts, rests),
        advice=why.advice,
    )
