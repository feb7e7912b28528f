"""Expectations on the grid against the closed forms and against plain sampling."""

from __future__ import annotations

import numpy as np
import pytest

from evengrad.theory.activations import FUNCTIONS, named_moments
from evengrad.theory.gaussian import NODES, dual, expect

RHO = np.array([-0.9, -0.4, 0.0, 0.2, 0.6, 0.95, 1.0])


def test_relu_has_the_arc_cosine_kernels() -> None:
    """Cho & Saul 2009, of order 1 for the function and order 0 for its slope."""
    values = np.maximum(NODES, 0)[None]
    angle = np.arccos(RHO)
    first = (np.sqrt(1 - RHO**2) + RHO * (np.pi - angle)) / (2 * np.pi)
    np.testing.assert_allclose(dual(values, RHO[None])[0], first, atol=2e-4)
    slope = (NODES > 0).astype(float)[None]
    inside = np.abs(RHO) < 0.94  # the series of a jump is slow where |rho| is near 1
    np.testing.assert_allclose(
        dual(slope, RHO[None])[0][inside], ((np.pi - angle) / (2 * np.pi))[inside], atol=3e-3
    )


@pytest.mark.parametrize("name", ["tanh", "gelu", "sigmoid", "silu", "elu", "softplus"])
def test_against_sampling(name: str) -> None:
    rng = np.random.default_rng(3)
    phi = FUNCTIONS[name]
    u, e = rng.normal(size=(2, 400_000))
    for rho in (-0.5, 0.3, 0.8):
        v = rho * u + np.sqrt(1 - rho**2) * e
        found = dual(phi(NODES)[None], np.array([[rho]]))[0, 0]
        assert found == pytest.approx(float((phi(u) * phi(v)).mean()), abs=0.006)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "selu", "mish", "softplus"])
def test_against_the_quadrature(name: str) -> None:
    moments = named_moments(name)
    assert moments is not None
    values = FUNCTIONS[name](NODES)
    assert float(expect(values**2)) == pytest.approx(moments.square, rel=1e-5)
    assert float(expect(values)) == pytest.approx(moments.mean, abs=1e-5)
