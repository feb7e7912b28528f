"""Warm-up by the loss: the learning rate that the curvature bears, which is less where the loss is high.

Treats: trainings whose rate is too large at the start alone (EG702, EG805, EG807), where curvature falls with
the loss.

Why: where curvature is at most H0 + H1 (f - f*), the loss f above its least f*, the rate
1 / (H0 + H1 (f - f*)) descends, and as the loss falls it rises by itself, as far as the script's own rate
(Alimisis 2025, 2510.03164; Riabinin 2026, 2602.05813). H0 and H1 come of two critical rates: at the start and
after a few small steps on the first batch.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.rate_by_loss import RateByLoss
from evengrad.theory.warm_up import of_rate
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {
    Symptom.FIRST_UPDATE_TOO_LARGE,
    Symptom.RATE_TOO_LARGE,
    Symptom.OVERWRITING,
    Symptom.DYING_UNITS,
    Symptom.DIVERGING,
}


def propose(case: Case) -> Iterable[Candidate]:
    """Where two critical rates are known, and the first loss bears less than the script's rate."""
    rate = None if case.probe is None else case.probe.rate
    if rate is None or rate.loss is None or not case.symptoms & _TREATED:
        return
    found, highest = of_rate(rate), rate.learning_rate
    if found is None or not found.rate(rate.loss) < highest:
        return
    change = RateByLoss(highest, *(_short(v) for v in (found.base, found.per_loss, rate.loss)))
    words = msg(
        "a rate of 1 / ({base:g} + {per_loss:g} * loss), at most {highest:g}",
        base=change.base,
        per_loss=change.per_loss,
        highest=highest,
    )
    yield Candidate("rate_by_loss", (change,), Cause.LEARNING_RATE, 2, words)


def _short(value: float) -> float:
    """As the patch writes it."""
    return float(f"{value:.3g}")
