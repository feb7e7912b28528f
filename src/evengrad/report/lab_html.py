"""The page of an experiment: heat maps, claims, and the curves of each cell."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evengrad.fixing.lab.laboratory import Experiment
from evengrad.report import lab_rows, lab_text, page
from evengrad.report.lab_rows import HeatCell
from evengrad.values.message import msg

_WIDTH, _HEIGHT = 320, 110
_EVEN = 3.0
"""Decades of growth from which a colour is full."""
_GOOD, _BAD, _FADED = "47, 158, 119", "220, 74, 74", "74, 134, 212"


@dataclass(frozen=True, slots=True)
class Shown:
    """A place of a heat map. colour: CSS; empty for none."""

    place: HeatCell
    text: str
    colour: str

    @property
    def linked(self) -> bool:
        """Whether there are curves to it."""
        return bool(self.place.measured)


@dataclass(frozen=True, slots=True)
class Curves:
    """What a cell's drawing is made of.

    Attributes:
        title: of the axis.
        lines: points of a polyline for each seed.
        low: smallest value.
        high: largest value.
    """

    title: str
    lines: list[str]
    low: str
    high: str


def render(found: Experiment) -> str:
    """The whole page."""
    table = found.table
    return page.fill(
        "lab.html.j2",
        (),
        [],
        found=found,
        headline=lab_text.headline(found),
        framework=lab_text.framework(found),
        reached_words=lab_text.reached_words(found),
        growth_words=lab_text.GROWTH_WORDS,
        maps=[(s, _maps(lab_rows.places(table, s.name))) for s in table.subjects],
        places=list(lab_rows.every(table)),
        curves=curves,
        width=_WIDTH,
        height=_HEIGHT,
        standings=lab_text.STANDINGS,
    )


def _maps(rows: list[list[HeatCell]]) -> tuple[list[list[Shown]], list[list[Shown]]]:
    """Of what was reached, and of growth."""
    reached = [[Shown(p, lab_rows.reached(p), _by_share(p.mean)) for p in row] for row in rows]
    growth = [[Shown(p, lab_rows.growths(p), _by_growth(p)) for p in row] for row in rows]
    return reached, growth


def _by_share(value: float) -> str:
    """From red over nothing to green."""
    if not math.isfinite(value):
        return ""
    tint, strength = (_GOOD, 2 * value - 1) if value > 0.5 else (_BAD, 1 - 2 * value)
    return f"rgba({tint}, {min(max(strength, 0.0), 1.0) * 0.75:.2f})"


def _by_growth(place: HeatCell) -> str:
    """Red where it grows, blue where it shrinks, before the first step."""
    value = place.growth_at_start
    if not math.isfinite(value):
        return ""
    tint = _BAD if value > 0 else _FADED
    return f"rgba({tint}, {min(abs(value) / _EVEN, 1.0) * 0.75:.2f})"


def curves(place: HeatCell) -> list[Curves]:
    """Loss and gradient norm of each seed."""
    found = []
    for title, figure in (
        (msg("loss"), lambda one: one.result.losses),
        (msg("gradient norm"), lambda one: one.result.norms),
    ):
        drawn, low, high = lab_rows.lines(place, figure, _WIDTH, _HEIGHT)
        found.append(Curves(title, drawn, _number(low), _number(high)))
    return found


def _number(decades: float) -> str:
    return f"{10**decades:.3g}" if math.isfinite(decades) else "–"
