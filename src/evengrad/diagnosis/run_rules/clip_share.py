"""EG804 clip that binds always or never: a bound that is not where the gradients are.

What it finds: a clip that shortened nearly every step, or a bound so far above every gradient that it cannot
act.

Why it matters: a clip that always binds is a hidden learning rate: under plain gradient descent each step has
the same length whatever the gradient says; under Adam, which divides by the gradient's size, it does next to
nothing but blunt the ratio of steps to one another. A bound that is never reached gives a safety that is not
there.

How it decides: binding on 95% or more of at least 100 steps after the first 20, and a fifth or more of the
median norm gone (measured choices; a clip by elements nearly always takes a little, and AutoClip's 10th
percentile binds on 90% by design: both are left alone). Or on none of them, with the bound a hundred times
above the largest norm of the run; below that it is an ordinary safety net.

What to do: always: set the bound at two to five times the median norm, and the rate to what it then must be,
or use --clip auto. Never: bring the bound down to ten times the median norm.

References: AutoClip (Seetharaman 2020, 2007.14469); bias of clipping: 2305.01588.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.rate_advice import rounded
from evengrad.diagnosis.readings import adam_like, applied, clip_bound
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.run import Run
from evengrad.values.wording import percent, size

CODE = "EG804"
SICK = (
    Scenario(clip=0.2),
    Scenario(clip=0.2, optimizer="Adam"),
    Scenario(clip=1000.0),
)
HEALTHY = (
    Scenario(),
    Scenario(clip=1.0),
    Scenario(clip=5.0),
    Scenario(clip=0.9, noise=0.02),
    Scenario(clip=0.2, steps=60),
)
_USABLE = 1e-4, 1e4
"""Median norms outside are of something else, such as a loss scale: a bound for them is no advice."""
_FIRST, _ENOUGH, _ALWAYS, _MUCH, _FAR = 20, 100, 0.95, 0.8, 100.0


def check(run: Run) -> Iterable[Finding]:
    """Fire at either end."""
    coefficients = applied(run, "coefficient")[_FIRST:]
    norms = applied(run, "norm")[_FIRST:]
    if len(coefficients) < _ENOUGH or not len(norms):
        return
    share = float((coefficients < 1).mean())
    bound = clip_bound(run)
    middle = float(np.median(norms))
    left = float(np.median(coefficients))
    settings = run.subject.settings
    by_design = settings.get("clip_kind") == "percentile"
    if settings.get("clip") and "clip_kind" not in settings:
        return  # a run of before: what kind of clip it had is not known
    if share >= _ALWAYS and left < _MUCH and not by_design:
        yield _finding(
            msg(
                "the clip binds on {share} of the steps: it is a hidden learning rate",
                share=percent(share),
            ),
            msg(
                "the median gradient norm is {middle}, and {left:.2g} of it is left",
                middle=size(middle),
                left=left,
            ),
            _always(run, left, middle),
        )
    elif share == 0 and bound is not None and bound > _FAR * float(norms.max()):
        yield _finding(
            msg(
                "the clip at {bound:g} never binds: the largest norm is {max}",
                bound=bound,
                max=size(float(norms.max())),
            ),
            msg("no step of {number} was clipped", number=len(coefficients)),
            (msg("set the bound to about {value:.2g}, or use --clip auto", value=10 * middle),),
        )


def _finding(title: str, fact: str, advice: tuple[str, ...]) -> Finding:
    return Finding(
        CODE,
        title,
        Cause.LEARNING_RATE,
        Severity.WARNING,
        evidence=(fact,),
        advice=advice,
        explained_by=(Cause.LEARNING_RATE, Cause.INITIALISATION, Cause.ARCHITECTURE),
    )


def _always(run: Run, left: float, middle: float) -> tuple[str, ...]:
    rate = applied(run, "rate")
    asked = run.subject.settings.get("clip")
    bound = msg("raise the bound to about {value:.2g}, or use --clip auto", value=3 * middle)
    if not _USABLE[0] < middle < _USABLE[1]:
        return (msg("use --clip auto, which follows the gradients"),)
    if asked and clip_bound(run) is None:
        bound = msg("raise the bound of the clip ({asked}), or use --clip auto", asked=asked)
    if adam_like(run) or not len(rate):
        return (bound,)
    return (
        bound,
        msg(
            "with it, lower the learning rate, now {rate:g}, to {rate2:g}",
            rate=rate[-1],
            rate2=rounded(rate[-1] * left),
        ),
    )
