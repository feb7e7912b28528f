"""What is watched trains bit for bit as what is not."""

import itertools

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
jnp = jax.numpy

from evengrad.adapters.jax.watch import watch  # noqa: E402
from evengrad.recording.settings import Settings  # noqa: E402

SETTINGS = Settings(folder=None)
OPTIMIZERS = {
    "sgd": lambda: optax.sgd(0.1),
    "momentum": lambda: optax.sgd(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: optax.adam(1e-3),
    "adamw": lambda: optax.adamw(1e-3, weight_decay=0.01),
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2)),
    "scheduled": lambda: optax.adam(optax.cosine_decay_schedule(1e-2, 50)),
}


def start(seed):
    rng = np.random.default_rng(seed)
    sizes = (20, 70, 70, 5)
    pairs = itertools.pairwise(sizes)
    params = [
        {
            "w": (rng.normal(size=p) / np.sqrt(p[0])).astype("float32"),
            "b": np.zeros(p[1], "float32"),
        }
        for p in pairs
    ]
    x = rng.normal(size=(8, 64, 20)).astype("float32")
    y = rng.integers(0, 5, (8, 64))
    return jax.tree.map(jnp.asarray, params), (jnp.asarray(x), jnp.asarray(y))


def loss_of(params, x, y):
    for layer in params[:-1]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    logits = x @ params[-1]["w"] + params[-1]["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def by_jit(tx, params, data):
    @jax.jit
    def step(params, state, x, y):
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    state, losses = tx.init(params), []
    for x, y in zip(*data, strict=True):
        params, state, loss = step(params, state, x, y)
        losses.append(float(loss))
    return params, state, losses


def by_scan(tx, params, data):
    def step(carry, batch):
        params, state = carry
        loss, grads = jax.value_and_grad(loss_of)(params, *batch)
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), loss

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, data))
    (params, state), losses = run((params, tx.init(params)))
    return params, state, losses


def by_parts(tx, params, data):
    value_and_grad, update = jax.jit(jax.value_and_grad(loss_of)), jax.jit(tx.update)
    state, losses = tx.init(params), []
    for x, y in zip(*data, strict=True):
        loss, grads = value_and_grad(params, x, y)
        updates, state = update(grads, state, params)
        params = jax.jit(optax.apply_updates)(params, updates)
        losses.append(float(loss))
    return params, state, losses


def by_hand(tx, params, data):
    state, losses = tx.init(params), []
    for x, y in zip(*data, strict=True):
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(float(loss))
    return params, state, losses


WAYS = {"jit": by_jit, "scan": by_scan, "parts": by_parts, "eager": by_hand}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_bit_is_changed(name, way, seed):
    if seed > 1 and (way not in ("jit", "scan") or name not in ("sgd", "adam", "adamw")):
        pytest.skip("one seed is enough")
    params, data = start(seed)
    bare = WAYS[way](OPTIMIZERS[name](), params, data)
    tx = OPTIMIZERS[name]()
    with watch(None, tx, SETTINGS) as handle:
        watched = WAYS[way](tx, params, data)
    steps = len(bare[2])
    assert handle._taps.all
    assert [tap.receiver.step for tap in handle._taps.all.values()] == [steps]
    same = jax.tree.map(lambda a, b: np.array_equal(np.asarray(a), np.asarray(b)), bare, watched)
    assert all(jax.tree.leaves(same)), same
