"""Why a training does not learn, and what makes its updates too small: the clip, the schedule or the rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evengrad.diagnosis.readings import adam_like, applied, clip_bound
from evengrad.values.finding import Cause
from evengrad.values.message import msg
from evengrad.values.run import Run

_LITTLE = 0.1  # of the gradient after a clip, or of the rate that the optimizer was given
_Found = tuple[str, tuple[str, ...]]
_NOTHING: _Found = "", ()
_EPSILON = 1e-6  # of a gradient's element: Adam divides what is much below by its own epsilon, 1e-8


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a training does not learn.

    Attributes:
        cause: of the nine.
        facts: what was measured of it.
        advice: what to change.
        known: whether anything speaks for it; else it is only where to look.
        still: the updates are so small that a loss which falls with them comes nowhere.
    """

    cause: Cause
    facts: tuple[str, ...]
    advice: tuple[str, ...]
    known: bool = True
    still: bool = False


def too_slow(run: Run, fact: tuple[str, ...]) -> Reason:
    """What to change. fact: how small the updates are."""
    found, advice = _clipped(run) or _scheduled(run) or _NOTHING
    if not advice:
        rate = highest_rate(run)
        now = "" if math.isnan(rate) else msg(", now {rate:g},", rate=rate)
        advice = (msg("raise the learning rate{now} tenfold, and see", now=now),)
    facts = (found, *fact) if found else fact
    return Reason(Cause.LEARNING_RATE, facts, advice, still=True)


def highest_rate(run: Run) -> float:
    """The largest one of the run; NaN where none is known."""
    rates = run.steps["rate"][np.isfinite(run.steps["rate"])]
    return float(rates.max()) if len(rates) and rates.max() > 0 else math.nan


def _clipped(run: Run) -> _Found | None:
    """By a clip, which Adam undoes down to its own epsilon."""
    bound, norms = clip_bound(run), applied(run, "norm")
    if bound is None or not len(norms):
        return None
    norm = float(np.median(norms))
    elements = sum(math.prod(tensor.shape) for tensor in run.subject.tensors)
    if bound >= _LITTLE * norm or (adam_like(run) and bound > _EPSILON * math.sqrt(elements)):
        return None
    found = msg(
        "every gradient is clipped to a norm of {bound:g}, {bound2:.2g} of its {norm:.3g}",
        bound=bound,
        bound2=bound / norm,
        norm=norm,
    )
    return found, (msg("raise the clip's bound (max_norm) to about {value:.2g}", value=3 * norm),)


def _scheduled(run: Run) -> _Found | None:
    """By a schedule that stays far below the rate that the optimizer was given."""
    rate, given = highest_rate(run), float(run.seen.get("given_rate") or 0.0)
    if not rate < _LITTLE * given:
        return None
    kind, steps = run.seen.get("schedule", msg("the schedule")), len(run.steps["step"])
    found = msg(
        "{kind} keeps the rate at {rate:.2g} or less; the optimizer was given {given:g}",
        kind=kind,
        rate=rate,
        given=given,
    )
    advice: tuple[str, ...] = (
        msg(
            "let the schedule reach {given:g} within these {steps:,} steps: a shorter warm-up",
            given=given,
            steps=steps,
        ),
    )
    if kind in ("LambdaLR", "MultiplicativeLR"):
        words = msg(
            "lr_lambda must return a factor (1.0 for {given:g}), not a rate: {kind} multiplies by it",
            given=given,
            kind=kind,
        )
        advice = (words, *advice)
    return found, advice
