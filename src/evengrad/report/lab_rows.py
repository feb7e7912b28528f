"""What the tables of an experiment show: for each network a row for each cause, a place for each remedy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evengrad.fixing.lab.cells import LabTraining, Table
from evengrad.fixing.lab.cures import Cure
from evengrad.fixing.lab.planted import Planted


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One network, cause and remedy, over its seeds.

    Attributes:
        subject: the network's name.
        cause: that was planted.
        cure: that was tried.
        measured: by seed, what trained.
        message: why nothing did, where nothing did; empty where it was not tried.
    """

    subject: str
    cause: Planted
    cure: Cure
    measured: tuple[LabTraining, ...]
    message: str = ""

    @property
    def id(self) -> str:
        """For links to it."""
        words = f"{self.subject} {self.cause.name} {self.cure.name}".lower()
        return "cell-" + "".join(c if c.isalnum() else "-" for c in words)

    @property
    def mean(self) -> float:
        """Of what was reached."""
        return mean(one.reached for one in self.measured)

    @property
    def spread(self) -> float:
        """Standard deviation over seeds; NaN with one."""
        values = [one.reached for one in self.measured if math.isfinite(one.reached)]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan

    @property
    def broken(self) -> int:
        """How many of the seeds came to a loss that is not finite."""
        return sum(not one.finite for one in self.measured)

    @property
    def growth_at_start(self) -> float:
        """Mean over seeds, in decades."""
        return mean(one.growth_at_start for one in self.measured)

    @property
    def growth(self) -> float:
        """The same at the end."""
        return mean(one.growth for one in self.measured)


def places(table: Table, subject: str) -> list[list[HeatCell]]:
    """A list for each cause with anything tried, in it a place for each remedy."""
    rows = []
    for cause in table.causes:
        row = [_place(table, subject, cause, cure) for cure in table.cures]
        if any(place.measured or place.message for place in row):
            rows.append(row)
    return rows


def every(table: Table) -> Iterator[HeatCell]:
    """Each place where something trained."""
    for subject in table.subjects:
        for row in places(table, subject.name):
            yield from (place for place in row if place.measured)


def _place(table: Table, subject: str, cause: Planted, cure: Cure) -> HeatCell:
    trained = tuple(table.at(subject, cause.name, cure.name).values())
    others = [m for m in table.all_at(subject, cause.name, cure.name).values() if not m.ran]
    said = others[0].result.message.split("\n", 1)[0] if others and not trained else ""
    return HeatCell(subject, cause, cure, trained, said)


def mean(values: Iterable[float]) -> float:
    """Of those that are finite; NaN where none is."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def reached(place: HeatCell) -> str:
    """As "93 ±1", in percent; with a cross where a loss was not finite."""
    if not place.measured:
        return "" if not place.message else "–"
    if not math.isfinite(place.mean):
        return "?"
    spread = f" ±{100 * place.spread:.0f}" if math.isfinite(place.spread) else ""
    return f"{100 * place.mean:.0f}{spread}{' ×' if place.broken else ''}"


def growths(place: HeatCell) -> str:
    """As "-2.1 → -0.3", decades before the first step and at the end."""
    if not place.measured:
        return ""
    return " → ".join(map(_decades, (place.growth_at_start, place.growth)))


def _decades(value: float) -> str:
    return f"{value:+.1f}" if math.isfinite(value) else "×"


def curve(values: Sequence[float], points: int = 80) -> list[tuple[int, float]]:
    """(step, log10 of the value), thinned out, without what is not finite or 0."""
    every_nth = max(-(-len(values) // points), 1)
    return [
        (step, math.log10(values[step]))
        for step in range(0, len(values), every_nth)
        if math.isfinite(values[step]) and values[step] > 0
    ]


def lines(
    place: HeatCell, figure: Callable[[LabTraining], Sequence[float]], width: int, height: int
) -> tuple[list[str], float, float]:
    """A polyline's points for each seed, and the bounds of their axis, log10."""
    curves = [curve(figure(one)) for one in place.measured]
    heights = [y for one in curves for _, y in one]
    if not heights:
        return [], math.nan, math.nan
    low, high = min(heights), max(heights)
    span = max(high - low, 1e-9)
    last = max(max(len(figure(one)) for one in place.measured) - 1, 1)
    drawn = [
        " ".join(f"{width * x / last:.1f},{height * (high - y) / span:.1f}" for x, y in one)
        for one in curves
    ]
    return drawn, low, high
