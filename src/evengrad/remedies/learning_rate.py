"""A learning rate that the loss bears.

Treats: steps that overwrite the weights, diverge or become NaN (EG701, EG702, EG802, EG807), and weights that
hardly move (EG703).

Why: beyond eta * lambda = 2 (with its optimizer's factor) each step overshoots by more than the one before
(Cohen 2021, 2103.00065); half of the largest stable rate leaves room for the sharpness to grow. Where that is
not known, a tenth and a hundredth of the present rate.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.change import Rate
from evengrad.finding import Cause
from evengrad.remedy import Candidate, Case

_LARGE = {"EG701", "EG702", "EG801", "EG802", "EG805", "EG807"}
_SMALL = {"EG703"}


def propose(case: Case) -> Iterable[Candidate]:
    """Half of the stable rate, or powers of ten from the present one."""
    now = case.rate
    if now is None or not now > 0:
        return
    up = bool(case.codes & _SMALL)
    if not up and not case.codes & _LARGE and Cause.LEARNING_RATE not in case.causes:
        return
    found = [] if case.stable is None else [_rounded(case.stable / 2)]
    found += [_rounded(now * factor) for factor in ((100.0, 10.0) if up else (0.1, 0.01))]
    for rate in dict.fromkeys(rate for rate in found if (rate > now) == up):
        yield Candidate(
            "learning_rate",
            (Rate(rate),),
            Cause.LEARNING_RATE,
            1,
            f"a learning rate of {rate:g} for {now:g}",
        )


def _rounded(rate: float) -> float:
    return float(f"{rate:.1g}")
