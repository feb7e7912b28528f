"""H0 and H1 from two critical rates: parabolas, cosh and x^4, whose critical rates are known exactly."""

import math
from itertools import pairwise

import pytest

from evengrad.theory.stability import critical_rate
from evengrad.theory.warm_up import Curvature, curvature, of_rate
from evengrad.values.probe import LaterRate, Method, Rate


def cosh(x):
    """Loss above its least, slope, and the critical rate: x - c sinh x = -x."""
    return math.cosh(x) - 1, math.sinh(x), 2 * x / math.sinh(x)


def quartic(x):
    """As cosh: x - c 4 x^3 = -x."""
    return x**4, 4 * x**3, 1 / (2 * x**2)


@pytest.mark.parametrize("function", [cosh, quartic])
@pytest.mark.parametrize("x", [0.3, 1.0, 4.0])
def test_the_search_finds_what_is_known(function, x):
    _, slope, critical = function(x)
    found, _ = critical_rate(lambda step: function(abs(x - step * slope) or 1e-9)[0], critical / 7)
    assert found == pytest.approx(critical, rel=0.25)


def test_a_line_through_both_points():
    truth = Curvature(3.0, 0.7)
    points = [(loss, 2 * truth.rate(loss)) for loss in (9.0, 2.0)]
    found = curvature(*points)
    assert (found.base, found.per_loss) == pytest.approx((3.0, 0.7))
    assert [found.rate(loss) for loss, _ in points] == pytest.approx([c / 2 for _, c in points])


def test_a_least_loss_that_is_not_zero():
    found = curvature((11.0, 2 / 10.0), (6.0, 2 / 5.0), least=1.0)
    assert (found.base, found.per_loss) == pytest.approx((0.0, 1.0))


@pytest.mark.parametrize("steep", [0.1, 1.0, 20.0])
def test_a_parabola_asks_for_no_warm_up(steep):
    assert curvature((8.0 * steep, 2 / steep), (0.5 * steep, 2 / steep)) is None


@pytest.mark.parametrize("function", [cosh, quartic])
@pytest.mark.parametrize("start", [2.0, 6.0])
def test_descends_where_the_later_rate_diverges_and_faster_than_the_first(function, start):
    points = [(function(x)[0], function(x)[2]) for x in (start, start / 2)]
    found = curvature(*points)

    def train(rate):
        x, losses = start, [function(start)[0]]
        for _ in range(10):
            loss, slope, _ = function(x)
            x = min(abs(x - rate(loss) * slope), 50.0)
            losses.append(function(x)[0])
        return losses

    ours = train(lambda loss: found.rate(loss) / 2)
    assert all(a > b for a, b in pairwise(ours))
    assert ours[-1] < train(lambda _: points[0][1] / 4)[-1]
    too_fast = train(lambda _: points[1][1])
    assert too_fast[1] > too_fast[0]


def test_nothing_is_said_without_a_fall():
    assert curvature((2.3, 0.5), (2.25, 0.9)) is None
    assert curvature((2.3, 0.5), (1.0, 0.2)) is None
    assert curvature((2.3, math.inf), (1.0, 0.2)) is None


def test_momentum_counts_as_the_steps_that_it_adds_up_to():
    later = LaterRate(4, 1.0, 0.8, 0.2)
    plain = of_rate(Rate(1.0, 0.2, 9, Method("sgd"), loss=2.0, later=later))
    heavy = of_rate(Rate(1.0, 0.2, 9, Method("sgd", 0.9), loss=2.0, later=later))
    adam = of_rate(Rate(1.0, 0.2, 9, Method("adam", 0.9), loss=2.0, later=later))
    assert plain.rate(1.5) == pytest.approx(10 * heavy.rate(1.5))
    assert adam == plain
