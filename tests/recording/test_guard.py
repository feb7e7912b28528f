"""When a step passes, and what is done with those that do not."""

import math

import numpy as np
import pytest

from evengrad.recording import clip, guard, loss_scaler
from evengrad.recording.guard import Action, Guard, Tally
from evengrad.recording.loss_scaler import ScalerWatch
from evengrad.values.run import EventKind, Tensor

HOST = clip.OnHost()
MATRIX = Tensor("w", "layer", (4, 9), 9.0)
BIAS = Tensor("b", "layer", (4,), None)


def passes(norms, factors=1.0, reach=(0.0, 0.0), ceiling=3e38):
    norms = np.array(norms)
    with np.errstate(all="ignore"):
        total = clip.global_norm(HOST, norms)
        return bool(guard.passes(HOST, norms, total, np.array(factors), np.array(reach), ceiling))


def test_finite_steps_pass():
    assert passes([1.0, 0.0])
    assert passes([1e18, 1e18])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.nan])
def test_non_finite_steps_do_not(bad):
    assert not passes([1.0, bad])
    assert not passes([bad, bad], factors=0.0)


def test_what_overflows_when_squared_does_not_unless_clipped():
    assert not passes([2e19, 1.0])
    assert passes([2e19, 1.0], factors=1e-19)


def test_updates_that_overwrite_do_not_pass():
    """Rate 0.1, 36 elements of rms 0.5: a gradient of norm 30 changes each by its own size."""
    reach = guard.reach([MATRIX, BIAS], np.array([0.5, 0.0]), 0.1)
    assert reach == pytest.approx([0.1 / (6 * 0.5), 0.0])
    assert passes([29.9, 1e9], reach=reach)
    assert not passes([30.1, 0.0], reach=reach)
    assert passes([30.1, 0.0], factors=0.9, reach=reach)


def test_a_matrix_that_starts_at_zero_counts_with_its_variance_preserving_scale():
    assert guard.reach([MATRIX], np.zeros(1), 0.1) == pytest.approx([0.1 / (6 / 3)])


def test_no_reach_without_a_rate():
    assert (guard.reach([MATRIX], np.ones(1), None) == 0).all()
    assert (guard.reach([MATRIX], np.ones(1), math.nan) == 0).all()


def test_spikes_count_where_asked_for():
    spiky = Guard(spike=10.0)
    assert guard.ceiling(spiky, [1.0] * 19) > 1e38
    assert guard.ceiling(spiky, [1.0, 2.0, 3.0] * 10) == pytest.approx(20.0)
    assert guard.ceiling(Guard(), [1.0] * 64) > 1e38
    assert not passes([21.0, 0.0], ceiling=20.0)


@pytest.mark.parametrize(
    ("norms", "reach", "limit", "expected"),
    [
        ([1.0, math.nan], [0, 0], 3e38, EventKind.NON_FINITE),
        ([2e19, 1.0], [0, 0], 3e38, EventKind.NON_FINITE),
        ([5.0, 1.0], [1, 0], 3e38, EventKind.OVERWRITE),
        ([5.0, 1.0], [0, 0], 4.0, EventKind.SPIKE),
    ],
)
def test_says_why(norms, reach, limit, expected):
    total = math.hypot(*norms)
    assert guard.reason(np.array(norms), np.ones(()), np.array(reach), total, limit) is expected


def test_stop_stops_at_once():
    assert Tally(Guard()).refused() is Action.STOP


def test_skips_count_in_a_row():
    tally = Tally(Guard(Action.SKIP, 2))
    assert [tally.refused(), tally.refused()] == [Action.SKIP] * 2
    tally.passed()
    assert [tally.refused(), tally.refused(), tally.refused()] == [
        Action.SKIP,
        Action.SKIP,
        Action.STOP,
    ]


def test_rollbacks_count_in_all():
    tally = Tally(Guard(Action.ROLLBACK, 2))
    found = []
    for _ in range(3):
        found.append(tally.refused())
        tally.passed()
    assert found == [Action.ROLLBACK, Action.ROLLBACK, Action.STOP]


@pytest.mark.parametrize(("largest", "expected"), [(1.0, 1), (0.5, 0), (100.0, 7), (1e6, 20)])
def test_expected_skips_of_a_scaler(largest, expected):
    """docs/theory.md, Precision: ceil(log2(65536 max|g| / 65504))."""
    assert loss_scaler.calibration(2.0**16, largest) == expected


def simulate(scaled_largest, steps=6000, interval=2000):
    """A GradScaler on gradients of that size, over a watch: its verdicts."""
    scale, good, watch, verdicts = 2.0**16, 0, ScalerWatch(interval), []
    for step in range(steps):
        skipped = scale * scaled_largest(step) > 65504
        found = watch.step(step, scale, skipped)
        if found is not None:
            verdicts.append(found)
        good = 0 if skipped else good + 1
        if skipped:
            scale /= 2
        elif good == interval:
            scale, good = scale * 2, 0
    return verdicts


@pytest.mark.parametrize("largest", [0.3, 1.0, 50.0, 3e4])
def test_a_scaler_that_finds_its_scale_is_normal(largest):
    verdicts = simulate(lambda step: largest)
    skips = loss_scaler.calibration(2.0**16, largest)
    assert verdicts.count("calibrating") == skips
    assert set(verdicts[skips:]) <= {"normal"}


def test_a_scaler_under_growing_gradients_is_not():
    assert "overflow" in simulate(
        lambda step: 1.0 if step < 100 else 1.1 ** (step - 100), steps=300
    )


def test_a_scale_below_one_is_not():
    assert "overflow" in simulate(lambda step: 1e6, steps=30)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("stop", Guard()),
        ("skip:5", Guard(Action.SKIP, 5)),
        ("rollback", Guard(Action.ROLLBACK)),
        ("off", None),
        (None, None),
        (Guard(spike=3.0), Guard(spike=3.0)),
    ],
)
def test_parses_what_a_user_writes(written, expected):
    assert guard.parse(written) == expected


def test_the_search_for_a_scale_does_not_count_against_later_skips():
    watch, skips = ScalerWatch(2000), {0, 1, 300, 900, 1200}
    verdicts = {step: watch.step(step, 2.0**14, step in skips) for step in range(1300)}
    assert [verdicts[s] for s in sorted(skips)] == [
        "calibrating",
        "calibrating",
        "normal",
        "normal",
        "overflow",
    ]
