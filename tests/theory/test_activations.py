"""Every figure of the table in docs/theory.md, Activations, and the quadrature against closed forms."""

import math

import numpy as np
import pytest

from evengrad.theory.activations import FUNCTIONS, canonical, leaky_relu, moments, named_moments

# phi: E[phi^2], E[phi], E[phi'^2], variance-preserving gain, chi_1 there, factor behind BatchNorm
TABLE = {
    "relu": (0.5, 0.398942, 0.5, 1.41421, 1, 1.21117),
    "leaky_relu .01": (0.500050, 0.394953, 0.500050, 1.41414, 1, 1.20556),
    "leaky_relu .2": (0.520000, 0.319154, 0.520000, 1.38675, 1, 1.11517),
    "tanh": (0.394294, 0, 0.464403, 1.59254, 1.177807, 1.08527),
    "sigmoid": (0.293379, 0.5, 0.044836, 1.84623, 0.152827, 1.01666),
    "gelu": (0.425221, 0.282095, 0.455851, 1.53353, 1.072032, 1.14841),
    "silu": (0.355776, 0.206621, 0.379482, 1.67653, 1.066634, 1.10095),
    "selu": (1, 0, 1.071575, 1, 1.071575, 1.03517),
    "elu": (0.644945, 0.160521, 0.668102, 1.24520, 1.035905, 1.03876),
    "softplus": (0.921246, 0.806059, 0.293379, 1.04187, 0.318459, 1.03948),
    "mish": (0.452342, 0.240404, 0.479084, 1.48685, 1.059118, 1.10193),
}


def _moments(name):
    if name.startswith("leaky_relu"):
        return moments(leaky_relu(float(name.split()[1])))
    return named_moments(name)


@pytest.mark.parametrize("name", TABLE)
def test_table_of_activations(name):
    square, mean, slope_square, gain, chi, behind_norm = TABLE[name]
    found = _moments(name)
    assert found.square == pytest.approx(square, abs=1e-6)
    assert found.mean == pytest.approx(mean, abs=1e-6)
    assert found.slope_square == pytest.approx(slope_square, abs=1e-6)
    assert found.gain == pytest.approx(gain, abs=6e-6)
    assert found.gain**2 * found.slope_square == pytest.approx(chi, abs=1e-6)
    factor = math.sqrt(found.slope_square / (found.square - found.mean**2))
    assert factor == pytest.approx(behind_norm, abs=6e-6)


@pytest.mark.parametrize("q", [0.1, 1.0, 7.0])
def test_relu_scales_with_q(q):
    found = moments(FUNCTIONS["relu"], q)
    assert found.square == pytest.approx(q / 2, rel=1e-9)
    assert found.mean == pytest.approx(math.sqrt(q / (2 * math.pi)), rel=1e-9)
    assert found.slope_square == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_against_simulation(name):
    z = np.random.default_rng(7).normal(size=2_000_000)
    assert named_moments(name).square == pytest.approx(np.mean(FUNCTIONS[name](z) ** 2), rel=5e-3)


@pytest.mark.parametrize(
    ("gain", "name", "expected"), [(5 / 3, "tanh", 1.2098), (math.sqrt(2), "relu", 1.0)]
)
def test_chi_at_the_fixed_point(gain, name, expected):
    """Tanh with PyTorch's gain 5/3 settles at chi_1 = 1.2098."""
    q = 1.0
    for _ in range(300):
        q = gain**2 * moments(FUNCTIONS[name], q).square
    assert gain**2 * moments(FUNCTIONS[name], q).slope_square == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_gelu_and_silu_collapse_to_half_with_gain_root_2(name):
    """With gain sqrt 2 the variance runs to 0 and chi to 2 * slope(0)^2 = 0.5."""
    q = 1.0
    for _ in range(400):
        q = 2 * moments(FUNCTIONS[name], q).square
    assert 2 * moments(FUNCTIONS[name], q).slope_square == pytest.approx(0.5, abs=5e-3)


def test_names_of_all_frameworks_meet():
    for spelling in ("ReLU", "relu", "relu_"):
        assert canonical(spelling) == "relu"
    assert canonical("Hardtanh") == "hard_tanh"
    assert named_moments("swish") == named_moments("SiLU")
    assert named_moments("my_own_activation") is None
