"""Edges of stability against simulated quadratics, and the search for the critical rate."""

import math
from dataclasses import replace

import numpy as np
import pytest

from evengrad.theory.stability import (
    CATAPULT,
    PASSES,
    WALK,
    critical_rate,
    edge,
    first_step,
    largest_stable,
    verdict,
)
from evengrad.values.probe import LaterRate, Method, Rate

HEAVY_BALL = Method("sgd", 0.9)
NESTEROV = Method("sgd", 0.9, nesterov=True)
ADAM = Method("adam", 0.9)


def simulated(method: Method, product: float) -> bool:
    """Whether an optimizer diverges on a quadratic of curvature 1 at that rate; Adam's preconditioner is 1."""
    b, x, v = method.momentum, 1.0, 0.0
    for _ in range(20_000):
        if method.family == "adam":
            v = b * v + (1 - b) * x
            x -= product * v
        elif method.nesterov:
            v = b * v + x
            x -= product * (x + b * v)
        else:
            v = b * v + x
            x -= product * v
        if abs(x) > 1e8:
            return True
    return False


@pytest.mark.parametrize(
    ("method", "expected"),
    [(Method("sgd"), 2.0), (HEAVY_BALL, 3.8), (NESTEROV, 1.357), (ADAM, 38.0)],
)
def test_edges(method: Method, expected: float) -> None:
    low, high = 0.1, 100.0
    while high / low > 1.00005:
        middle = math.sqrt(low * high)
        if simulated(method, middle):
            high = middle
        else:
            low = middle
    assert edge(method) == pytest.approx(low, rel=1e-3)
    assert edge(method) == pytest.approx(expected, rel=5e-4)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("off", [1e-4, 1e-2, 1.0, 50.0, 1e4])
def test_critical_rate_of_a_quadratic(off: float, seed: int) -> None:
    """Along the gradient: eta_c = 2 g.g / (g.H g)."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(6, 6))
    hessian, x = root @ root.T, rng.normal(size=6)
    g = hessian @ x
    exact = 2 * float(g @ g) / float(g @ hessian @ g)

    def loss(step: float) -> float:
        y = x - step * g
        return 0.5 * float(y @ hessian @ y)

    found, passes = critical_rate(loss, exact * off)
    assert passes <= PASSES
    assert 1 / 1.5 < found / exact < 1.5


def test_a_loss_that_never_rises_and_one_that_breaks() -> None:
    assert critical_rate(lambda step: -step, 1e-3)[0] == math.inf
    found, passes = critical_rate(lambda step: math.nan if step > 0.7 else -step, 1e-3)
    assert passes <= PASSES
    assert 0.4 < found < 1.1


def test_verdicts() -> None:
    stable = largest_stable(Rate(1.0, 2.0, 5, Method("sgd")))
    far = 1.1 * max(CATAPULT, 2.0 / stable)
    for factor, expected in ((0.9, "safe"), (1.5, "catapult"), (far, "diverges")):
        assert verdict(Rate(stable * factor, 2.0, 5, Method("sgd"))) == expected
    bearable = Rate(1.9, 2.0, 5, Method("sgd", 0.9))
    assert bearable.learning_rate > CATAPULT * largest_stable(bearable)
    assert verdict(bearable) == "catapult"
    assert verdict(Rate(1e6, math.inf, 5, Method("sgd"))) == "safe"


def test_the_sharpness_counts_where_it_is_known() -> None:
    assert largest_stable(Rate(1.0, 99.0, 5, HEAVY_BALL, sharpness=2.0)) == pytest.approx(1.9)


def test_a_second_moment_of_one_gradient_does_not_count() -> None:
    method = Method("adam", 0.9)
    precise, plain = Rate(1.0, 2.0, 5, method, sharpness=1e6), Rate(1.0, 2.0, 5, method)
    assert largest_stable(precise) == largest_stable(plain)


def test_a_loss_that_is_not_finite_at_rest() -> None:
    with pytest.raises(ValueError, match="nan"):
        critical_rate(lambda _: math.nan, 1.0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("small", [1.0, 1e-6, 1e-12])
def test_the_search_begins_where_the_loss_shows_more_than_its_rounding(
    small: float, seed: int
) -> None:
    """A quadratic of float32: steps too small to see are skipped, and the edge is found all the same."""
    rng = np.random.default_rng(seed)
    root, x = rng.normal(size=(6, 6)), rng.normal(size=6)
    hessian = root @ root.T
    g = hessian @ x
    exact = 2 * float(g @ g) / float(g @ hessian @ g)
    now = small * exact

    def loss(step: float) -> float:
        y = (x - step * g).astype(np.float32).astype(float)
        return float(np.float32(0.5 * y @ hessian @ y + 3.0))

    first = now * first_step(float(np.linalg.norm(x)), float(now * np.linalg.norm(g)))
    assert first >= now
    found, passes = critical_rate(loss, first)
    assert passes <= PASSES
    assert 1 / 1.5 < found / exact < 1.5


def test_an_update_of_nothing_has_no_first_step() -> None:
    for move, told in (
        (0.0, "moves no weight"),
        (math.inf, "not finite"),
        (math.nan, "not finite"),
    ):
        with pytest.raises(ValueError, match=told):
            first_step(1.0, move)
    assert first_step(1000.0, 1e-2) == pytest.approx(100.0)
    assert first_step(1000.0, 1e-2, eps=2.0**-7) == pytest.approx(781.25)
    assert first_step(1.0, 1.0) == 1.0


@pytest.mark.parametrize("method", [Method("sgd"), HEAVY_BALL, NESTEROV, ADAM])
def test_small_steps_tell_of_gradient_descent_alone(method):
    plain = Rate(1.0, 2.0, 5, method)
    later = LaterRate(WALK, 0.1, 0.7, 0.5)
    walked, short = (replace(plain, later=replace(later, steps=n)) for n in (WALK, WALK - 1))
    assert largest_stable(short) == largest_stable(plain)
    lower = replace(walked, later=replace(later, lowest=0.25))
    same = method.family != "sgd"
    assert largest_stable(walked) == largest_stable(lower) * (1 if same else 2)
    assert (largest_stable(walked) == largest_stable(plain)) is same
