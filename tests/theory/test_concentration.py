"""How unevenly softmax shares out, against drawn logits; attention with steep constants, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory.specs import Graph

from evengrad.theory.concentration import causal_passed, causal_squares, passed, squares
from evengrad.values.spec import Combine, Einsum, Law, Softmax


def drawn(variance: float, count: int, seed: int) -> tuple[float, float]:
    """Means over 20,000 drawn rows: sum a^2, and what is left of a gradient of variance 1, over it."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(20_000, count)) * math.sqrt(variance)
    a = np.exp(logits - logits.max(1, keepdims=True))
    a /= a.sum(1, keepdims=True)
    d = rng.normal(size=a.shape)
    left = (a * (d - (a * d).sum(1, keepdims=True))) ** 2
    return float((a**2).sum(1).mean()), float(left.sum(1).mean() / (a**2).sum(1).mean())


@pytest.mark.parametrize("count", [2, 7, 40])
@pytest.mark.parametrize("variance", [0.0, 0.01, 0.7, 3.0, 20.0, 900.0])
def test_sums_of_powers(variance: float, count: int) -> None:
    found = drawn(variance, count, count)
    assert squares(variance, count) == pytest.approx(found[0], rel=0.03)
    assert passed(variance, count) == pytest.approx(found[1], rel=0.08 if variance < 100 else 0.3)


def test_they_fall_with_the_variance_and_never_vanish() -> None:
    grid = np.geomspace(1e-6, 1e6, 40)
    for count in (2.0, 9.5, 1000.0):
        lines = [[f(v, count) for v in grid] for f in (squares, passed)]
        assert np.all(np.diff(lines[0]) >= -1e-3)
        assert np.all(np.diff(lines[1]) <= 1e-3)
        assert lines[1][-1] > 0.0
    assert squares(5.0, 1.0) == 1.0
    assert passed(5.0, 1.0) == 0.0


@pytest.mark.parametrize("tokens", [1, 6, 60])
@pytest.mark.parametrize("variance", [0.0, 0.5, 4.0])
def test_sums_of_powers_under_a_causal_mask(variance: float, tokens: int) -> None:
    rng = np.random.default_rng(tokens)
    logits = rng.normal(size=(3000 if tokens < 20 else 150, tokens, tokens))
    logits = logits * math.sqrt(variance) + np.triu(np.full((tokens, tokens), -np.inf), 1)
    a = np.exp(logits - logits.max(2, keepdims=True))
    a /= a.sum(2, keepdims=True)
    d = rng.normal(size=a.shape)
    left = (a * (d - (a * d).sum(2, keepdims=True))) ** 2
    assert causal_squares(variance, tokens) == pytest.approx((a**2).sum(2).mean(), rel=0.03)
    found = causal_passed(variance, tokens)
    assert found == pytest.approx(left.sum() / (a**2).sum(), rel=0.06, abs=1e-12)


def attention(tokens: int, width: int, gain: float, sd: float) -> Graph:
    """softmax(q k^T / sqrt(width) + b) v with a constant b of each key; q, k and v are o0, o1, o2."""
    graph = Graph((6, tokens, width))
    q, k, v = (graph.dense(0, width, gain) for _ in range(3))
    logits = graph.add(Einsum("biz,bjz->bij"), (q, k), (6, tokens, tokens))
    logits = graph.times(logits, width**-0.5)
    b = graph.constant((1, 1, tokens), Law(0.0, sd))
    logits = graph.add(Combine("add", lambda x, y: x + y), (logits, b), graph.shapes[logits])
    weights = graph.add(Softmax(2, log=False), (logits,), graph.shapes[logits])
    graph.add(Einsum("bij,bjz->biz"), (weights, v), (6, tokens, width))
    return graph


def run(tokens: int, width: int, gain: float, sd: float, seed: int) -> list[float]:
    """Squared norms of the gradients at q, k and v over that at the output, by hand."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(6, tokens, width))
    q, k, v = (x @ rng.normal(size=(width, width)) * gain / math.sqrt(width) for _ in range(3))
    logits = q @ k.swapaxes(1, 2) / math.sqrt(width) + sd * rng.normal(size=tokens)
    a = np.exp(logits - logits.max(2, keepdims=True))
    a /= a.sum(2, keepdims=True)
    d = rng.normal(size=x.shape)
    at_a = d @ v.swapaxes(1, 2)
    at_logits = a * (at_a - (a * at_a).sum(2, keepdims=True)) / math.sqrt(width)
    found = [at_logits @ k, at_logits.swapaxes(1, 2) @ q, a.swapaxes(1, 2) @ d]
    return [float((g**2).sum() / (d**2).sum()) for g in found]


@pytest.mark.parametrize("sd", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("gain", [0.5, 1.0, 1.6])
def test_gradients_get_through_steep_attention(gain: float, sd: float) -> None:
    """Where exp(variance) is more than there are tokens, q and k used to get nothing at all."""
    tokens, width = 12, 24
    means = np.mean([run(tokens, width, gain, sd, seed) for seed in range(60)], axis=0)
    levels = attention(tokens, width, gain, sd).levels()
    for name, mean in zip(("o0", "o1", "o2"), means, strict=True):
        assert levels[name].energy == pytest.approx(mean, rel=0.35), name


def test_a_steep_constant_is_told() -> None:
    notes = [attention(12, 24, 1.0, sd).predict().expected.notes for sd in (0.5, 3.0)]
    assert not notes[0]
    assert len(notes[1]) == 1
    assert "constant" in notes[1][0]
