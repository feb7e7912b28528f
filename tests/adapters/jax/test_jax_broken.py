"""Whatever of the tap breaks, a training with optax goes on unwatched, bit for bit, and one line says so."""

from functools import cache

import numpy as np
import pytest

from tests.broken import goes_on

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
jnp = jax.numpy


def batches():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 6)).astype("float32"), rng.normal(size=12).astype("float32")
    return [(x[i : i + 6], y[i : i + 6]) for i in (0, 6)]


def by_update(compiled=True, several=False):
    tx = optax.adam(1e-2)
    tx = optax.MultiSteps(tx, 2) if several else tx

    def step(params, state, x, y):
        loss, grads = jax.value_and_grad(lambda p: jnp.mean((x @ p["w"] + p["b"] - y) ** 2))(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    step = jax.jit(step) if compiled else step
    params, losses = {"w": jnp.ones(6) / 3, "b": jnp.zeros(())}, []
    state = tx.init(params)
    for x, y in batches():
        params, state, loss = step(params, state, x, y)
        losses.append(loss)
    return losses, params


def by_train_state():
    linen = pytest.importorskip("flax.linen")
    from flax.training.train_state import TrainState

    net = linen.Dense(1)
    params = net.init(jax.random.key(0), batches()[0][0])
    state = TrainState.create(apply_fn=net.apply, params=params, tx=optax.adam(1e-2))

    @jax.jit
    def step(state, x, y):
        def loss_of(params):
            return jnp.mean((state.apply_fn(params, x)[:, 0] - y) ** 2)

        loss, grads = jax.value_and_grad(loss_of)(state.params)
        return state.apply_gradients(grads=grads), loss

    losses = []
    for x, y in batches():
        state, loss = step(state, x, y)
        losses.append(loss)
    return losses, state.params


def by_nnx():
    nnx = pytest.importorskip("flax.nnx")
    model = nnx.Linear(6, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x, y):
        loss, grads = nnx.value_and_grad(lambda m: jnp.mean((m(x)[:, 0] - y) ** 2))(model)
        optimizer.update(model, grads)
        return loss

    losses = [step(model, optimizer, x, y) for x, y in batches()]
    return losses, nnx.state(model, nnx.Param)


def by_equinox():
    equinox = pytest.importorskip("equinox")
    model, tx = equinox.nn.Linear(6, "scalar", key=jax.random.key(0)), optax.adam(1e-2)
    state = tx.init(equinox.filter(model, equinox.is_inexact_array))

    @equinox.filter_jit
    def step(model, state, x, y):
        loss_of = equinox.filter_value_and_grad(lambda m: jnp.mean((jax.vmap(m)(x) - y) ** 2))
        loss, grads = loss_of(model)
        updates, state = tx.update(grads, state, equinox.filter(model, equinox.is_inexact_array))
        return equinox.apply_updates(model, updates), state, loss

    losses = []
    for x, y in batches():
        model, state, loss = step(model, state, x, y)
        losses.append(loss)
    return losses, equinox.filter(model, equinox.is_array)


TRAININGS = {
    "update": by_update,
    "eager update": lambda: by_update(compiled=False),
    "MultiSteps": lambda: by_update(several=True),
    "TrainState": by_train_state,
    "nnx": by_nnx,
    "equinox": by_equinox,
}
SEAMS = [
    "tap.tap.Taps._wrapped",
    "tap.tap.Taps._update",
    "tap.tap.Taps._before",
    "tap.tap.UpdateMeasure.after",
    "tap.received.arrived_step",
    "tap.losses.LossEars._heard",
    "tap.losses.LossEars.take",
    "tap.makers.Makers._note",
]


def leaves(found):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(found)]


@cache
def bare(name):
    return leaves(TRAININGS[name]())


@pytest.mark.parametrize("place", SEAMS)
@pytest.mark.parametrize("name", TRAININGS)
def test_a_broken_tap_ends_no_training(name, place, tmp_path, monkeypatch):
    def train():
        found = leaves(TRAININGS[name]())
        jax.effects_barrier()
        return found

    goes_on("jax", train, bare(name), place, tmp_path, monkeypatch)
