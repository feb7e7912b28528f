"""EG810 no better than a constant: the loss ends where the best constant answer would have it, or above.

What it finds: a training whose last losses are not below those of a model that gives every input one and the
same answer, the best there is.

Why it matters: whatever the loss did on the way, nothing was learnt from the inputs. A loss of 2.30 for ten
classes, or of the variance of the targets, looks like a beginning and is the end.

How it decides: the baseline is the entropy of the classes' shares (cross-entropy), the variance (squared
error) or the mean distance from the median (absolute error) of the targets that were seen in the first
steps; it is known of these losses alone, where they are what is minimised, or a fixed multiple of it. As a
test of equivalence: the lower 99% limit of the mean of the last quarter is above 98% of the baseline (a
measured choice), by the noise of the run itself, and the loss is not falling any more, or so slowly that it
would reach the baseline after ten times as many steps again (a measured choice). Or it is above 90% of the
baseline, and the loss on the validation data never fell below 99% of it (measured choices). From 40 steps on
where inputs, updates or gradients say why, else from 200. Two trainings that take turns (a GAN's) are not
judged.

What to do: inputs of a root mean square above 10: normalise them. Weights that have shrunk below a tenth of
what they were: a penalty or weight decay outweighs the loss; lower it. Updates of more than a tenth of the
weights: lower the learning rate, tenfold at first; far below 1e-4: raise it, or the clip's bound, or what the
schedule makes of it. Dropout that leaves a tenth or less: lower its rate. No gradient, or a vanishing one:
`evengrad check` says where it ends. Else look whether labels belong to their inputs, and overfit one single
batch.

References: Karpathy 2019, A recipe for training neural networks (the input-independent baseline);
TheDeepChecker (2204.00694).
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.learning import (
    UNEXPLAINED,
    baseline,
    collapsed,
    comes_nowhere,
    end,
    judged,
    reason,
    shrunk,
    still_falling,
    unlearnt,
)
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.run import Run

CODE = "EG810"
SICK = (
    Scenario(loss="flat", noise=0.01, baseline=2.3, ratio=0.5, steps=60),
    Scenario(loss="flat", noise=0.01, baseline=2.3, inputs=150.0, steps=60),
    Scenario(loss="flat", noise=0.05, baseline=2.3),
    Scenario(loss="flat", noise=0.01, baseline=2.3, shrinks=50.0, steps=60),
    Scenario(loss="rises", noise=0.05, baseline=2.3),
    Scenario(loss="flat", noise=0.01, baseline=2.3, steps=60, dropout=(0.8, 0.8)),
    Scenario(loss="flat", noise=0.01, baseline=2.42, validation=(2.43, 2.42, 2.44)),
    Scenario(loss="creeps", noise=0.001, baseline=1.0, ratio=1e-7, given=1e4),
)
HEALTHY = (
    Scenario(baseline=2.3),
    Scenario(loss="flat", noise=0.01, baseline=2.42, validation=(2.35, 2.34, 2.33)),
    Scenario(baseline=2.3, steps=60),
    Scenario(baseline=2.3, shrinks=50.0),
    Scenario(loss="flat", noise=0.01, baseline=2.3, steps=60),
    Scenario(loss="flat", noise=0.01, baseline=2.3, steps=60, dropout=(0.5, 0.5, 0.1)),
    Scenario(loss="flat", noise=0.05, baseline=2.5),
    Scenario(loss="flat", noise=0.05, baseline=2.3, interleaved=True),
    Scenario(loss="flat", first_loss=0.7, noise=0.01, baseline=0.0),
)
_MARGIN = 0.98


def check(run: Run) -> Iterable[Finding]:
    """Fire where the loss is surely not below it."""
    loss, bound = judged(run), baseline(run)
    if loss is None or bound is None or collapsed(run) is not None:
        return
    last = end(loss)
    falling = still_falling(loss) and not comes_nowhere(loss, bound)
    falling = falling and shrunk(run) is None  # what falls then is the penalty alone
    by_heart = unlearnt(run, last, bound) if len(loss) >= UNEXPLAINED else None
    if by_heart is None and (last.low < _MARGIN * bound or falling):
        return
    why = reason(run)
    if not why.known and len(loss) < UNEXPLAINED:
        return
    first = float(loss[: max(len(loss) // 10, 5)].mean())
    yield Finding(
        CODE,
        msg(
            "the loss ends at {mean:.4g}, no better than a constant answer, {bound:.4g}",
            mean=last.mean,
            bound=bound,
        ),
        why.cause,
        Severity.ERROR,
        symptom=Symptom.STANDING_STILL,
        unhealthy=True,
        evidence=(
            msg("it began at {first:.4g}; {number} steps were made", first=first, number=len(loss)),
            *_validation(by_heart),
            *why.facts,
        ),
        advice=why.advice,
        explained_by=tuple(cause for cause in Cause if cause is not Cause.PRECISION),
    )


def _validation(best: float | None) -> tuple[str, ...]:
    if best is None:
        return ()
    return (
        msg(
            "on the validation data it was {best:.4g} at best: what the training gains is learnt by heart",
            best=best,
        ),
    )
