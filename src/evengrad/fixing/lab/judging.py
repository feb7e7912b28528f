"""How a claim is judged: the stated tests, the same for all.

One-sided paired t-tests at 95%, a pair for each seed (the same seed with and without what the claim is
about), so that no claim is judged by fewer than two seeds. Each condition (a network, a cause, a strength) is
tested by itself; nothing is corrected for how many there are.

References:
    Student 1908, The probable error of a mean; Schuirmann 1987 (two one-sided tests of equivalence).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evengrad.fixing.lab.cells import LabTraining, Table
from evengrad.fixing.lab.planted import NOTHING, Planted
from evengrad.fixing.lab.subject import LabSubject
from evengrad.values.message import Message, joined, msg, with_values

LEVEL = 0.05
RECOVERED = 0.5
"""A remedy works where it gives back at least so much of what the cause took (a choice)."""
SAME = 0.1
"""Decades: growths that differ by less, a factor of 1.26, are the same (a choice)."""
_PLACES = ("first", "second")
HARM = 0.05
"""Of accuracy: a cause that takes less does no harm worth a remedy (a choice)."""

RulingAnswer = Literal["holds", "fails", "undecided"]
FigureOf = Callable[[LabTraining], float]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one condition says of a claim.

    Attributes:
        condition: where it was measured.
        measured: the figures, in words.
        answer: whether the claim holds there; "undecided" where the seeds do not tell.
        p: of the test that decides; None where all pairs are exactly equal, which needs none.
    """

    condition: str
    measured: str
    answer: RulingAnswer
    p: float | None


@dataclass(frozen=True, slots=True)
class Paired:
    """Differences of pairs.

    Attributes:
        count: of pairs.
        mean: of the differences.
        above: one-sided p that their mean is above the bound only by chance.
        below: the same for below.
        equal: whether each is exactly the bound.
    """

    count: int
    mean: float
    above: float
    below: float
    equal: bool


def student_tail(t: float, freedom: int) -> float:
    """P(T > t) of Student's t with a whole number of degrees of freedom, in closed form.

    References:
        Abramowitz & Stegun 1964, 26.7.3 and 26.7.4.
    """
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    angle = math.atan2(t, math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    term, total = (cosine, 0.0) if freedom % 2 else (1.0, 0.0)
    for k in range(1 if freedom % 2 else 0, freedom - 1, 2):
        total += term
        term *= cosine * cosine * (k + 1) / (k + 2)
    inside = 2 / math.pi * (angle + sine * total) if freedom % 2 else sine * total
    return (1 - inside) / 2


def paired(differences: Sequence[float], bound: float = 0.0) -> Paired | None:
    """The test; None with fewer than two finite differences."""
    values = np.array([d for d in differences if math.isfinite(d)]) - bound
    if len(values) < 2:
        return None
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    t = mean / error if error else math.copysign(math.inf, mean) if mean else 0.0
    above = student_tail(t, len(values) - 1)
    return Paired(len(values), mean + bound, above, 1 - above, not values.any())


def larger(
    condition: str,
    pairs: Sequence[tuple[LabTraining, LabTraining]],
    figure: FigureOf,
    words: Message,
    *,
    bound: float = 0.0,
) -> Iterator[Ruling]:
    """The claim that a figure is larger in the first of each pair. words: has the
    places first and second for both means.
    """
    both = _finite([(figure(a), figure(b)) for a, b in pairs])
    text = _said(words, both)
    yield from ruled(condition, paired([a - b for a, b in both], bound), text)


def ruled(condition: str, found: Paired | None, text: str) -> Iterator[Ruling]:
    """The claim that the mean of these differences is above its bound; where all lie on it, it is not."""
    if found is None:
        return
    if found.equal:
        yield Ruling(
            condition,
            msg("{text}, the same in each of {count} seeds", text=text, count=found.count),
            "fails",
            None,
        )
        return
    answer: RulingAnswer = "undecided"
    if found.above < LEVEL:
        answer = "holds"
    elif found.below < LEVEL:
        answer = "fails"
    p = found.below if answer == "fails" else found.above
    yield Ruling(condition, msg("{text} ({count} seeds)", text=text, count=found.count), answer, p)


def _finite(both: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [pair for pair in both if all(map(math.isfinite, pair))]


def _said(words: Message, both: Sequence[tuple[float, float]]) -> str:
    means = [_mean(column) for column in zip(*both, strict=True)]
    return with_values(words, dict(zip(_PLACES, means, strict=False))) if both else ""


def same(
    condition: str,
    pairs: Sequence[tuple[LabTraining, LabTraining]],
    figure: FigureOf,
    words: Message,
    *,
    within: float = SAME,
) -> Iterator[Ruling]:
    """The claim that a figure is the same in both, by two one-sided tests of the differences."""
    both = _finite([(figure(a), figure(b)) for a, b in pairs])
    yield from bounded(condition, [a - b for a, b in both], _said(words, both), within=within)


def bounded(
    condition: str, values: Sequence[float], text: str, *, within: float
) -> Iterator[Ruling]:
    """The claim that the mean of these lies within a distance from 0, by two one-sided tests."""
    upper, lower = paired(values, within), paired(values, -within)
    if upper is None or lower is None:
        return
    inside, outside = max(upper.below, lower.above), min(upper.above, lower.below)
    answer: RulingAnswer = "undecided"
    if inside < LEVEL:
        answer = "holds"
    elif outside < LEVEL:
        answer = "fails"
    p = outside if answer == "fails" else inside
    yield Ruling(condition, msg("{text} ({count} seeds)", text=text, count=upper.count), answer, p)


def cures(table: Table, cure: str, wanted: Callable[[Planted], bool]) -> Iterator[Ruling]:
    """The claim that a remedy cures causes: it is better than none, and gives back at least half of what the
    cause took. A cause that takes nothing says nothing.
    """
    for subject in table.subjects:
        for cause in table.causes:
            if wanted(cause) and cause.kind != "none":
                yield from _cured(table, subject, cause, cure)


def _cured(table: Table, subject: LabSubject, cause: Planted, cure: str) -> Iterator[Ruling]:
    sick, well = (subject.name, cause.name, "none"), (subject.name, NOTHING, "none")
    harm = paired([a.reached - b.reached for a, b in table.pairs(well, sick)], HARM)
    if harm is None or harm.above >= LEVEL:
        return
    pairs = table.pairs((subject.name, cause.name, cure), sick)
    gain = paired([a.reached - b.reached for a, b in pairs])
    if gain is None:
        return
    share = gain.mean / harm.mean
    values = (
        _mean([b.reached for _, b in pairs]),
        _mean([a.reached for a, _ in pairs]),
        _mean([one.reached for one in table.at(*well).values()]),
    )
    text = msg(
        "{sick:.0%} sick, {cured:.0%} with it, {well:.0%} without the cause",
        sick=values[0],
        cured=values[1],
        well=values[2],
    )
    half = paired([a.reached - b.reached for a, b in pairs], RECOVERED * harm.mean)
    assert half is not None
    answer: RulingAnswer = "undecided"
    if gain.above < LEVEL and share >= RECOVERED:
        answer = "holds"
    elif half.below < LEVEL:
        answer = "fails"
    p = half.below if answer == "fails" else gain.above
    where = joined(msg(", "), (subject.name, cause.name))
    yield Ruling(where, msg("{text} ({count} seeds)", text=text, count=gain.count), answer, p)


def _mean(values: Sequence[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return float(np.mean(finite)) if finite else math.nan
