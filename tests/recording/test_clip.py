"""The arithmetic of every clip, against plain loops over its paper's formula."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evengrad.errors import EvengradError
from evengrad.recording import clip

HOST = clip.OnHost()
NORM_CLIPS = [kind() for kind in clip.KINDS if kind.scope == "norms"]


def run(kind, rows):
    """Factors of each step, (steps, tensors) or (steps,)."""
    state, found = kind.start(rows.shape[1]), []
    with np.errstate(all="ignore"):
        for row in rows:
            factors, state = kind.factors(HOST, row, state)
            found.append(factors)
    return np.array(found)


def rows(seed, steps=200, tensors=3):
    generator = np.random.default_rng(seed)
    found = generator.lognormal(0.0, 0.4, (steps, tensors))
    found[generator.integers(0, steps, 5)] *= 30
    return found


def total(row):
    return math.sqrt(sum(n * n for n in row))


@pytest.mark.parametrize("seed", range(3))
def test_global_norm(seed):
    found = rows(seed)
    expected = [min(1, 0.7 / total(row)) for row in found]
    assert run(clip.GlobalNorm(0.7), found) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_tensor_norm(seed):
    found = rows(seed)
    assert run(clip.TensorNorm(0.7), found) == pytest.approx(np.minimum(1, 0.7 / found))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("percentile", [10.0, 50.0, 90.0])
def test_autoclip(seed, percentile):
    """The bound is the percentile of all norms so far, the present one with them."""
    found = rows(seed)
    norms, expected = [], []
    for row in found:
        norms.append(total(row))
        bound = np.percentile(norms, percentile, method="lower")
        expected.append(min(1, bound / norms[-1]))
    assert run(clip.AutoClip(percentile), found) == pytest.approx(expected, rel=1e-5)


def test_autoclip_forgets_beyond_its_window():
    found = rows(1, steps=60)
    norms = [total(row) for row in found]
    expected = [
        min(1, np.percentile(norms[max(0, i - 15) : i + 1], 10, method="lower") / norms[i])
        for i in range(60)
    ]
    assert run(clip.AutoClip(10.0, window=16), found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_zclip(seed):
    """2504.02507, algorithm 1: statistics of the warm-up, then moving averages of what was let through."""
    found = rows(seed)
    norms, expected, mean, variance = [], [], 0.0, 0.0
    for step, row in enumerate(found):
        norm = total(row)
        if step < 25:
            norms.append(norm)
            mean, variance = np.mean(norms), np.var(norms)
            expected.append(1.0)
            continue
        z = (norm - mean) / math.sqrt(variance)
        kept = mean + 2.5**2 / z * math.sqrt(variance) if z > 2.5 else norm
        expected.append(min(1, kept / norm))
        mean = 0.97 * mean + 0.03 * kept
        variance = 0.97 * variance + 0.03 * (kept - mean) ** 2
    assert run(clip.ZClip(), found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_adagc(seed):
    """2502.11034, algorithm 1."""
    found = rows(seed)
    average, expected = [math.inf] * 3, []
    for step, row in enumerate(found):
        if step < 100:
            factors = [min(1, 1.0 / total(row))] * 3
            average = [min(a, f * n) for a, f, n in zip(average, factors, row, strict=True)]
        else:
            factors = [min(1, 1.05 * a / n) for a, n in zip(average, row, strict=True)]
            average = [
                0.98 * a + 0.02 * f * n for a, f, n in zip(average, factors, row, strict=True)
            ]
        expected.append(factors)
    assert run(clip.AdaGC(), found) == pytest.approx(np.array(expected), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_auto(seed):
    found = rows(seed)
    logs, expected = [], []
    for row in found:
        norm = total(row)
        if len(logs) < 10:
            expected.append(1.0)
        else:
            last = np.array(logs[-128:])
            middle = np.percentile(last, 50, method="lower")
            spread = 1.4826 * np.percentile(np.abs(last - middle), 50, method="lower")
            expected.append(min(1, math.exp(middle + 4 * max(spread, 0.05)) / norm))
        logs.append(math.log(norm))
    assert run(clip.Auto(), found) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_auto_leaves_a_healthy_history_alone(seed):
    """Log-normal norms with a slow drift: it binds on less than 2 steps in 100."""
    generator = np.random.default_rng(seed)
    drift = np.exp(np.linspace(0, -2, 1000))[:, None]
    found = generator.lognormal(0, 0.3, (1000, 1)) * drift
    assert (run(clip.Auto(), found) < 1).mean() < 0.02


@pytest.mark.parametrize("seed", range(3))
def test_agc(seed):
    generator = np.random.default_rng(seed)
    gradients, weights = generator.lognormal(-4, 2, 50), generator.lognormal(-4, 2, 50)
    limit = 0.01 * np.maximum(weights, 1e-3)
    expected = np.where(gradients > limit, limit / gradients, 1)
    assert clip.AGC().unit_factors(HOST, gradients, weights) == pytest.approx(expected)


def test_update_clip():
    found = [float(clip.UpdateClip().factor(HOST, np.float64(rms))) for rms in (0.1, 1.0, 4.0)]
    assert clip.parse("update:2").factor(HOST, np.float64(4.0)) == 0.5
    assert found == pytest.approx([1, 1, 0.25])


@pytest.mark.parametrize("kind", NORM_CLIPS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_no_bad_step_poisons_the_memory(kind, bad):
    """The published AutoClip and ZClip give NaN for ever after one."""
    good = rows(4)
    broken = np.insert(good, 150, [1.0, bad, 1.0], axis=0)
    after = np.delete(run(kind, broken), 150, axis=0)
    assert after == pytest.approx(run(kind, good))


@pytest.mark.parametrize("kind", NORM_CLIPS, ids=lambda kind: kind.name)
@given(values=st.lists(st.floats(0, 1e30), min_size=3, max_size=3), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_factors_are_shares(kind, values, seed):
    found = run(kind, np.vstack([rows(seed, 30), [values]]))
    assert (found >= 0).all()
    assert (found <= 1).all()


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=6))
def test_global_norm_does_not_overflow(norms):
    assert float(clip.global_norm(HOST, np.array(norms))) == pytest.approx(
        math.hypot(*norms), rel=1e-9
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (None, None),
        (1, clip.GlobalNorm(1.0)),
        ("2.5", clip.GlobalNorm(2.5)),
        ("norm:3", clip.GlobalNorm(3.0)),
        ("auto", clip.Auto()),
        ("agc:0.02", clip.AGC(0.02)),
        ("value", clip.Value(0.5)),
        ("percentile:20", clip.AutoClip(20.0)),
        ("zscore", clip.ZClip()),
        ("adagc", clip.AdaGC()),
        ("update", clip.UpdateClip()),
        ("tensor:2", clip.TensorNorm(2.0)),
        (clip.ZClip(3.0), clip.ZClip(3.0)),
    ],
)
def test_parses_what_a_user_writes(written, expected):
    assert clip.parse(written) == expected


@pytest.mark.parametrize("written", ["", "agcc", "norm:x", "norm:", "1:2", -1, 0, math.nan, True])
def test_refuses_what_is_no_clip(written):
    with pytest.raises(EvengradError, match="Expected a clip"):
        clip.parse(written)
