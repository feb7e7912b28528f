"""A stable learning rate.

Treats: steps that overwrite the weights, diverge or become NaN (EG701, EG702, EG802, EG807), weights that
hardly move (EG703, EG809), and a loss that does not fall although nothing else is found.

Why: beyond eta * lambda = 2 (with its optimizer's factor) each step overshoots by more than the one before
(Cohen 2021, 2103.00065); half of the largest stable rate leaves room for the sharpness to grow. Where that is
not known, a tenth and a hundredth of the present rate. The first step of an adaptive optimizer says little of
the rate that is stable later: one that hardly moves gets the usual one first, one that was driven too fast gets
it second. What hardly moves any more because steps were too large is no reason for larger ones.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.diagnosis.rate_advice import rounded
from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_LARGE = {
    Symptom.FIRST_UPDATE_TOO_LARGE,
    Symptom.RATE_TOO_LARGE,
    Symptom.NOT_FINITE,
    Symptom.OVERWRITING,
    Symptom.DYING_UNITS,
    Symptom.DIVERGING,
}
_SMALL = {Symptom.RATE_TOO_SMALL, Symptom.STANDING_STILL}
_SAME = 0.05  # Keras keeps rates in float32, and nobody sees less
_USUAL = 1e-3  # of Adam and RMSprop (1412.6980, and both frameworks' default)


def propose(case: Case) -> Iterable[Candidate]:
    """What check advises, or powers of ten from the present one."""
    now = case.rate
    if now is None or not now > 0:
        return
    nothing = not case.findings  # and yet it does not learn: the rate is what is wrong most often
    known = [] if case.lower_rate is None else [case.lower_rate]
    usual = [_USUAL] if case.optimizer.startswith(("adam", "nadam", "radam", "rmsprop")) else []
    more = [] if case.higher_rate is None else [case.higher_rate]
    found: list[float] = []
    large = bool(case.symptoms & _LARGE)
    if (case.symptoms & _SMALL and not large) or nothing:
        found += [r for r in (*more, *usual, rounded(now * 100), rounded(now * 10)) if r > now]
    if large or nothing or (not found and Cause.LEARNING_RATE in case.causes):
        found += [r for r in (*known, *usual, rounded(now / 10), rounded(now / 100)) if r < now]
    for rate in dict.fromkeys(r for r in found if abs(r / now - 1) > _SAME):
        words = msg("a learning rate of {rate:g} for {now:g}", rate=rate, now=now)
        yield Candidate("learning_rate", (SetRate(rate),), Cause.LEARNING_RATE, 1, words)
