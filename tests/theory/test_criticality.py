"""Critical networks and residual scales against quadrature, recursion and closed forms."""

import math

import numpy as np
import pytest

from evengrad.theory.activations import FUNCTIONS, moments
from evengrad.theory.criticality import critical, edge
from evengrad.theory.residual import branch_scale, grown, least_power


@pytest.mark.parametrize("depth", [20, 200, 10_000])
def test_the_mean_square_stands_still_and_the_gradient_keeps_its_energy(depth):
    gain, bias, q = critical("tanh", depth)
    found = moments(np.tanh, q, kinks=())
    assert gain**2 * found.square + bias**2 == pytest.approx(q, rel=1e-9)
    assert gain**2 * found.slope_square == pytest.approx(1, abs=1e-9)
    z = np.linspace(-10.0, 10.0, 4001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    t = np.tanh(math.sqrt(q) * z)
    steepness = gain**2 * float(density @ (t * (1 - t**2) * z)) / math.sqrt(q)  # dQ/dq
    assert depth * (1 - steepness) == pytest.approx(1, rel=1e-5)


def test_small_q_as_the_series_of_tanh():
    """E[phi'^2] = 1 - 2 q, Q = sigma_w^2 (q - 2 q^2): sigma_w^2 = 1 + 2 q, dQ/dq = 1 - 2 q = 1 - 1 / depth."""
    gain, bias, q = critical("tanh", 10_000)
    assert q == pytest.approx(1 / 20_000, rel=1e-2)
    assert gain**2 - 1 == pytest.approx(2 * q, rel=1e-2)
    assert bias**2 == pytest.approx(4 / 3 * q**3, rel=1e-2)


def test_the_published_point():
    """Tanh with sigma_b^2 = 0.05 is critical at sigma_w^2 = 1.76 (Schoenholz 2017)."""
    low, high = 0.01, 2.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if edge("tanh", middle).bias ** 2 < 0.05 else (low, middle)
    assert edge("tanh", low).gain ** 2 == pytest.approx(1.76, abs=5e-3)


@pytest.mark.parametrize("name", ["gelu", "silu", "sigmoid", "softplus", "relu"])
def test_others_have_none_that_is_stable(name):
    assert critical(name, 50) is None
    assert name == "relu" or math.isfinite(FUNCTIONS[name](np.zeros(1))[0])


def test_growth_of_residual_networks():
    assert grown(32, 1.0) == pytest.approx(32 * math.log(2))
    assert grown(31, 1.0, branch_scale(32, 0.5)) == pytest.approx(math.log(2.596), abs=1e-3)
    assert grown(10_000, 3.0, branch_scale(10_000, 0.5)) == pytest.approx(3, rel=1e-3)
    assert grown(100, 3.0, branch_scale(100, 1.0)) == pytest.approx(0.03, rel=1e-2)
    assert least_power(32, 1.0, most=2.0) == 0.5
    assert least_power(32, 8.0, most=2.0) == 1.0
