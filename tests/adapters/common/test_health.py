"""Activation health and targets against what the arrays were made to be."""

import numpy as np
import pytest

from evengrad.adapters.common.health import activation_health
from evengrad.adapters.common.targets import targets_of
from evengrad.values.summary import column_rms, summarise, together


@pytest.mark.parametrize("seed", range(3))
def test_dead_units_are_counted_along_their_axis(seed):
    rng = np.random.default_rng(seed)
    output = rng.uniform(0.1, 1, size=(5, 4, 4, 8))
    output[..., :3] = 0
    output[0, 0, 0, 3] = 0  # off once, not dead
    assert activation_health("relu", output, axis=-1).dead == 3 / 8
    first = np.moveaxis(output, -1, 1)
    assert activation_health("ReLU", first, axis=1).dead == 3 / 8
    assert activation_health("tanh", output, axis=-1).dead == 0
    assert activation_health("relu", output, axis=-1).units == 8


@pytest.mark.parametrize(
    ("name", "values", "share"),
    [
        ("tanh", [-0.995, -0.5, 0.0, 0.999], 0.5),
        ("Sigmoid", [0.001, 0.5, 0.5, 0.5], 0.25),
        ("relu6", [0.0, 6.0, 3.0, 0.0], 0.25),
        ("hardtanh", [-1.0, 1.0, 0.2, 0.1], 0.5),
        ("relu", [0.0, 1.0, 2.0, 3.0], 0.0),
    ],
)
def test_saturated_share(name, values, share):
    assert activation_health(name, np.array([values]), axis=-1).saturated == share


def test_a_hard_tanh_of_another_range():
    values = np.array([[-2.0, -1.0, 0.0, 2.0]])
    assert activation_health("Hardtanh", values, axis=-1, flat=(-2, 2)).saturated == 0.5


@pytest.mark.parametrize("name", ["softmax", "LogSoftmax", "glu"])
def test_what_is_not_elementwise_has_no_health(name):
    assert activation_health(name, np.ones((2, 3)), axis=-1) is None


def test_targets():
    found = targets_of(np.array([3, 0, 7]), "int64")
    assert (found.min, found.max, found.integral, found.non_finite) == (0, 7, True, 0)
    found = targets_of(np.array([0.25, np.nan, -1.0, np.inf]), "float32")
    assert (found.min, found.max, found.integral, found.non_finite) == (-1, 0.25, False, 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_several_tensors_together_are_one(seed):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(i, 1 + i, size=(3, 4 + i)) for i in range(3)]
    parts[1][0, 0] = np.nan
    joined = together([summarise(part) for part in parts])
    whole = summarise(np.concatenate([part.ravel() for part in parts]))
    for name in ("mean", "rms", "max", "zeros", "non_finite"):
        assert getattr(joined, name) == pytest.approx(getattr(whole, name))


def test_scaled_and_columns():
    values = np.array([[3.0, 0.0], [4.0, np.nan]])
    assert summarise(values[:, :1]).scaled(10).rms == pytest.approx(10 * np.sqrt(12.5))
    assert column_rms(values) == pytest.approx((np.sqrt(12.5), 0.0))
    assert column_rms(np.ones((2, 2, 2))) == ()
