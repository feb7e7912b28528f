"""The tests by which claims are judged, against closed forms and published points of Student's t."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made import cell, subject, table

from evengrad.fixing.lab.judging import bounded, cures, larger, paired, same, student_tail
from evengrad.values.message import msg


@pytest.mark.parametrize(
    ("freedom", "point"),
    [(1, 6.3138), (2, 2.9200), (3, 2.3534), (4, 2.1318), (5, 2.0150), (10, 1.8125), (30, 1.6973)],
)
def test_the_tail_of_student_at_95_percent(freedom, point):
    assert student_tail(point, freedom) == pytest.approx(0.05, abs=2e-5)
    assert student_tail(-point, freedom) == pytest.approx(0.95, abs=2e-5)


def test_the_tail_in_its_simplest_cases():
    for t in (0.0, 0.3, 1.7, 20.0):
        assert student_tail(t, 1) == pytest.approx(0.5 - math.atan(t) / math.pi)
        assert student_tail(t, 2) == pytest.approx(0.5 - t / (2 * math.sqrt(2 + t * t)))
    assert student_tail(math.inf, 3) == 0.0
    assert student_tail(-math.inf, 3) == 1.0


def test_how_often_nothing_is_called_something():
    """Of differences that are noise 5% are called larger, to what 4,000 draws can tell."""
    draws = np.random.default_rng().normal(size=(4000, 3))
    share = np.mean([paired(list(row)).above < 0.05 for row in draws])
    assert share == pytest.approx(0.05, abs=0.016)


def test_one_seed_is_no_test():
    assert paired([1.0]) is None
    assert paired([1.0, math.nan]) is None
    assert paired([]) is None
    assert not list(bounded("where", [0.1], "", within=1.0))


def test_equal_figures_are_not_larger():
    found = paired([0.0, 0.0, 0.0])
    assert found.equal
    assert found.above == found.below == 0.5
    assert paired([1.0, 1.0]).above == 0.0


def rulings(one, other, **more):
    found = table(cell("weights x4", accuracy=one), cell(accuracy=other))
    name = subject().name
    pairs = found.pairs((name, "weights x4", "none"), (name, "none", "none"))
    return list(
        larger("where", pairs, lambda m: m.reached, msg("{first:.2f} {second:.2f}"), **more)
    )


def test_larger_smaller_and_neither():
    assert rulings(0.9, 0.1)[0].answer == "holds"
    assert rulings(0.1, 0.9)[0].answer == "fails"
    (equal,) = rulings(0.5, 0.5)
    assert (equal.answer, equal.p) == ("fails", None)  # exactly the same with each seed
    assert equal.measured == "0.50 0.50, the same in each of 3 seeds"
    assert rulings(0.9, 0.5, bound=0.5)[0].answer == "fails"
    assert rulings(0.9, 0.1)[0].measured == "0.90 0.10 (3 seeds)"
    assert rulings(math.nan, 0.1) == []


def test_what_the_seeds_do_not_tell_is_left_open():
    assert [r.answer for r in bounded("where", [-1.0, 0.2, 1.0], "", within=0.5)] == ["undecided"]
    assert [r.answer for r in bounded("where", [0.1, 0.0, -0.1], "", within=0.5)] == ["holds"]
    assert [r.answer for r in bounded("where", [1.1, 1.0, 0.9], "", within=0.5)] == ["fails"]


def test_the_same_is_tested_and_not_taken_for_granted():
    found = table(cell("weights x4", accuracy=0.9), cell(accuracy=0.905))
    name = subject().name
    pairs = found.pairs((name, "weights x4", "none"), (name, "none", "none"))
    (ruling,) = same(
        "where", pairs, lambda m: m.reached, msg("{first:.3f} {second:.3f}"), within=0.02
    )
    assert ruling.answer == "holds"


def cured(sick, with_it, well=0.9):
    found = table(
        cell(accuracy=well),
        cell("weights x4", accuracy=sick),
        cell("weights x4", "clipping", accuracy=with_it),
    )
    return [r.answer for r in cures(found, "clipping", lambda _: True)]


def test_a_remedy_gives_back_half_of_what_the_cause_took():
    assert cured(0.1, 0.9) == ["holds"]
    assert cured(0.1, 0.51) == ["holds"]
    assert cured(0.1, 0.3) == ["fails"]
    assert cured(0.1, 0.1) == ["fails"]


def test_a_cause_that_does_no_harm_says_nothing_of_a_remedy():
    assert cured(0.9, 0.9) == []
    assert cured(0.88, 0.2) == []
