"""What the forecast adds to a report: its band, and who is outside of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evengrad.diagnosis.budget import Budget
from evengrad.diagnosis.even import Even
from evengrad.theory.prediction import Band
from evengrad.values import wording
from evengrad.values.message import joined, msg
from evengrad.verbs.check import Check

_MOST = 3
_FAR, _LEAST = 2.5, 0.1
"""How far outside counts: so many times the 95% band's reach (about five standard deviations, since every
operation is asked), and at least 10%, since real data is not the standard normal data of the theory."""


@dataclass(frozen=True, slots=True)
class Outside:
    """An operation whose measured gain no seed of this initialisation would give."""

    operation: str
    layer: str
    measured: float
    band: Band


def is_forecast(check: Check) -> bool:
    """Whether nothing was measured: the probe is what theory expects."""
    return check.forecast is not None


def reach(band: Band) -> str:
    """A band as factors: "x0.02 to x0.05"."""
    low, high = wording.factor(band.low), wording.factor(band.high)
    return low if low == high else msg("{low} to {high}", low=low, high=high)


def outside(check: Check) -> tuple[Outside, ...]:
    """Operations whose measured log gain is outside its band, furthest first."""
    if check.prediction is None or is_forecast(check):
        return ()
    found = []
    for op in check.probe.operations:
        band, gain = check.prediction.terms.get(op.name), op.log_gain
        if band is None or gain is None or not math.isfinite(gain):
            continue
        reach = max(_FAR * (band.high - band.median), _LEAST)
        if abs(gain - band.median) <= reach:
            continue
        found.append(Outside(op.name, op.layer, gain, band))
    return tuple(
        sorted(found, key=lambda o: -max(o.band.low - o.measured, o.measured - o.band.high))
    )


def sentences(check: Check, split: Budget) -> list[str]:
    """The forecast of the total, and how the measured figures stand to it."""
    if check.prediction is None:
        why = check.unpredicted
        return (
            [] if why is None else [msg("No forecast of this model could be made: {why}.", why=why)]
        )
    total = check.prediction.total
    if not math.isfinite(total.median):
        return []
    if is_forecast(check):
        return [msg("Over seeds: {reach} from output to input, in 95 of 100.", reach=reach(total))]
    shown = msg(
        "Forecast from the architecture: {median}, {reach} over seeds; ",
        median=wording.factor(total.median),
        reach=reach(total),
    )
    odd = outside(check)
    if not odd:
        inside = total.holds(split.total)
        return [
            shown
            + (
                msg("measured inside: any seed will do this.")
                if inside
                else msg("measured outside.")
            )
        ]
    names = joined(
        msg("; "),
        [
            joined("", (f"{o.operation} ", wording.factor(o.measured), " (", reach(o.band), ")"))
            for o in odd[:_MOST]
        ],
    )
    more = msg(" and {number} more", number=len(odd) - _MOST) if len(odd) > _MOST else ""
    return [
        shown + (msg("measured inside.") if total.holds(split.total) else msg("measured outside.")),
        msg("Not what this initialisation does in general: {names}{more}.", names=names, more=more),
    ]


def initialisation(entries: Sequence[Even]) -> list[str]:
    """Which weights would make it even."""
    shown: list[str] = []
    for entry in entries:
        names = wording.layers(entry.layers)
        if entry.kept:
            shown.append(msg("Variance-preserving already: {names}.", names=names))
        else:
            ratio = (
                wording.factor(math.log(entry.actual / entry.gain)) if entry.actual > 0 else "x0"
            )
            shown.append(
                msg(
                    "Even with {code} in {names} (now {ratio} of that scale).",
                    code=entry.code,
                    names=names,
                    ratio=ratio,
                )
            )
    return shown or [msg("No layer's scale matters: normalisation follows each.")]
