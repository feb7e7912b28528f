"""Every kind of clip through the Keras tap, against plain NumPy descent on a linear model's own gradients."""

import math

import keras
import numpy as np
import pytest

import evengrad
import evengrad.keras
from evengrad.recording import clip as clips

pytestmark = pytest.mark.keras
STEPS, ROWS, RATE = 16, 4, 0.05
KINDS = [
    clips.GlobalNorm(0.3),
    clips.TensorNorm(0.2),
    clips.Value(0.02),
    clips.AGC(0.02),
    clips.AutoClip(30),
    clips.ZClip(0.5, warm_up=8),
    clips.AdaGC(warm_up=6),
    clips.Auto(),
]


def data(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(STEPS * ROWS, 5)).astype("float32")
    y = rng.normal(size=(STEPS * ROWS, 3)).astype("float32")
    y[12 * ROWS :] *= 10  # a jump
    return x, y


def model(seed, optimizer):
    keras.utils.set_random_seed(seed)
    found = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4), keras.layers.Dense(3)])
    eager = keras.backend.backend() == "tensorflow"
    found.compile(optimizer=optimizer, loss="mean_squared_error", run_eagerly=eager)
    return found


def gradients(weights, x, y):
    """Of mean((x W1 + b1) W2 + b2 - y)^2, by hand."""
    first, bias, second, last = weights
    hidden = x @ first + bias
    error = 2 * (hidden @ second + last - y) / y.size
    back = error @ second.T
    return [x.T @ back, back.sum(0), hidden.T @ error, error.sum(0)]


def units(gradient, weight, limit, eps):
    if gradient.ndim == 1:
        gradient, weight = gradient[:, None], weight[:, None]
        return units(gradient, weight, limit, eps)[:, 0]
    found = gradient.copy()
    for j in range(gradient.shape[1]):
        bound = limit * max(np.linalg.norm(weight[:, j]), eps)
        size = np.linalg.norm(gradient[:, j])
        if size > bound:
            found[:, j] *= bound / size
    return found


def clipper(kind):
    """A function (gradients, weights) -> gradients, from the definition of the kind."""
    state = kind.start(4) if kind.scope == "norms" else None

    def clip(found, weights):
        nonlocal state
        norms = np.array([np.linalg.norm(g) for g in found])
        if kind.name == "norm":
            return [g * min(1, kind.bound / math.hypot(*norms)) for g in found]
        if kind.name == "tensor":
            return [g * min(1, kind.bound / n) for g, n in zip(found, norms, strict=True)]
        if kind.name == "value":
            return [g.clip(-kind.bound, kind.bound) for g in found]
        if kind.name == "agc":
            pairs = list(zip(found, weights, strict=True))
            return [units(g, w, kind.limit, kind.eps) for g, w in pairs[:2]] + found[2:]
        with np.errstate(all="ignore"):
            factors, state = kind.factors(clips.OnHost(), norms, state)
        return [g * f for g, f in zip(found, np.broadcast_to(factors, 4), strict=True)]

    return clip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_is_what_it_says(kind, tmp_path):
    seed = KINDS.index(kind)
    x, y = data(seed)
    watched = model(seed, keras.optimizers.SGD(RATE))
    weights = [np.array(w, dtype=np.float64) for w in watched.get_weights()]
    clip, clipped = clipper(kind), []
    for i in range(STEPS):
        rows = slice(i * ROWS, (i + 1) * ROWS)
        before = gradients(weights, x[rows], y[rows])
        after = clip(before, weights)
        clipped.append([math.sqrt(sum((g**2).sum() for g in gs)) for gs in (before, after)])
        weights = [w - RATE * g for w, g in zip(weights, after, strict=True)]
    watch = evengrad.keras.Watch(clip=kind, folder=tmp_path)
    given = {"batch_size": ROWS, "shuffle": False, "verbose": 0}
    watched.fit(x, y, callbacks=[watch], **given)
    for mine, theirs in zip(weights, watched.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-3, atol=1e-5)
    run = evengrad.load(watch.watching.path)
    norms = np.array(clipped)
    np.testing.assert_allclose(run.steps["norm"], norms[:, 0], rtol=1e-3)
    np.testing.assert_allclose(run.steps["clipped"], norms[:, 1], rtol=1e-3)
    assert (run.steps["coefficient"] < 0.999).any()


def test_update_clip_is_stable_adamw(tmp_path):
    """2304.13013, algorithm 2: a rate divided by max(1, RMS), which Keras' Adam does not change otherwise."""
    x, y = data(3)
    watched = model(3, keras.optimizers.Adam(RATE, beta_2=0.99, epsilon=1e-8))
    weights = [np.array(w, dtype=np.float64) for w in watched.get_weights()]
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    least = []
    for t in range(1, STEPS + 1):
        rows = slice((t - 1) * ROWS, t * ROWS)
        found, factors = gradients(weights, x[rows], y[rows]), []
        for i, g in enumerate(found):
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.99 * second[i] + 0.01 * g * g
            v = second[i] / (1 - 0.99**t)
            factors.append(1 / max(1.0, math.sqrt((g * g / np.maximum(v, 1e-16)).mean())))
            update = first[i] / (1 - 0.9**t) / (np.sqrt(v) + 1e-8)
            weights[i] = weights[i] - RATE * factors[i] * update
        least.append(min(factors))
    watch = evengrad.keras.Watch(clip="update", folder=tmp_path)
    watched.fit(x, y, batch_size=ROWS, shuffle=False, verbose=0, callbacks=[watch])
    for mine, theirs in zip(weights, watched.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=5e-3, atol=2e-4)
    run = evengrad.load(watch.watching.path)
    np.testing.assert_allclose(run.steps["coefficient"], least, rtol=2e-2)
    assert min(least) < 0.5


def test_update_clip_wants_adam():
    x, y = data(0)
    with pytest.raises(evengrad.EvengradError, match="second moment"):
        model(0, "sgd").fit(
            x, y, verbose=0, callbacks=[evengrad.keras.Watch("update", folder=None)]
        )
