"""Summaries against plain float64 NumPy, and where float32 sums overflow or vanish."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evengrad.values.summary import rms_of_difference, root_sum_squares, summarise

LARGE = float(np.float32(1e30))
finite = st.floats(-LARGE, LARGE, width=32)


@settings(deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=4), elements=finite))
def test_against_plain_float64(values):
    summary = summarise(values)
    exact = values.astype(np.float64)
    assert summary.shape == values.shape
    # The mean of numbers that cancel is only as exact as their sizes allow.
    assert summary.mean == pytest.approx(exact.mean(), rel=1e-9, abs=1e-12 * np.abs(exact).max())
    assert summary.rms == pytest.approx(np.sqrt((exact**2).mean()), rel=1e-12)
    assert summary.max == np.abs(exact).max()
    assert summary.zeros == (exact == 0).mean()
    assert summary.non_finite == 0
    assert summary.norm == pytest.approx(np.linalg.norm(exact.ravel()), rel=1e-12)


@pytest.mark.parametrize("size", [1, 10, 1 << 18, (1 << 18) + 1, 700_000])
def test_chunks_do_not_show(size):
    values = np.random.default_rng(size).normal(3, 2, size).astype(np.float32)
    assert summarise(values).rms == pytest.approx(np.sqrt(np.mean(values.astype(float) ** 2)))
    assert summarise(values).mean == pytest.approx(np.mean(values.astype(float)))


@pytest.mark.parametrize("value", [1e19, 1e-24, 3e38, 1e-45])
def test_extreme_gradients_keep_their_norm(value):
    values = np.full((1000,), value, np.float32)
    with np.errstate(over="ignore", under="ignore"):
        in_float32 = np.sqrt(np.sum(values * values))
    assert in_float32 in (0.0, np.inf), "the trap that this guards against"
    assert summarise(values).norm == pytest.approx(float(values[0]) * math.sqrt(1000), rel=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_counted_not_spread(bad):
    values = np.array([1.0, bad, -3.0, 0.0], np.float32)
    summary = summarise(values)
    assert summary.non_finite == 0.25
    assert summary.zeros == 0.25
    assert summary.max == 3.0
    assert summary.rms == pytest.approx(math.sqrt(10 / 3))
    assert math.isnan(summary.norm)


def test_nothing_but_nan_and_nothing_at_all():
    assert summarise(np.full((4,), np.nan)).non_finite == 1.0
    assert summarise(np.zeros((0, 3))).size == 0


def test_norms_of_several_tensors_together():
    assert root_sum_squares([3e200, 4e200]) == pytest.approx(5e200)
    assert math.isnan(root_sum_squares([1.0, math.nan]))


@pytest.mark.parametrize("seed", range(3))
def test_difference_of_close_arrays(seed):
    rng = np.random.default_rng(seed)
    old = rng.normal(size=(700, 600)).astype(np.float32)
    new = (old + rng.normal(size=old.shape) * 1e-4).astype(np.float32)
    exact = np.sqrt(np.mean((new.astype(float) - old.astype(float)) ** 2))
    assert rms_of_difference(new, old) == pytest.approx(exact, rel=1e-12)
    assert rms_of_difference(old, old) == 0


def test_no_warning_on_infinities_of_both_signs():
    with np.errstate(all="raise"):
        assert summarise(np.array([np.inf, -np.inf, 2.0], np.float32)).rms == 2.0
