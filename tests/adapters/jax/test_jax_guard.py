"""A step that is not finite moves neither weights nor state, and an error of ours ends no training."""

import math

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
jnp = jax.numpy

from evengrad.adapters.jax.tap import tap as tapping  # noqa: E402
from evengrad.adapters.jax.watch import watch  # noqa: E402
from evengrad.errors import EvengradError  # noqa: E402
from evengrad.recording.guard import Guard, GuardStopError, parse  # noqa: E402
from evengrad.recording.settings import Settings, settings_of  # noqa: E402

BAD = 3


class Heard:
    """Keeps what a run tells."""

    def __init__(self):
        self.steps, self.details, self.subject = [], [], None

    def begin(self, subject, path):
        self.subject = subject

    def step(self, step):
        self.steps.append(step)

    def detail(self, detail):
        self.details.append(detail)

    def event(self, event):
        pass

    def end(self, status):
        pass


def settings(guard="skip:9", clip=None):
    return Settings(folder=None, guard=parse(guard), clip=clip)


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 16, 6)).astype("float32")
    x[BAD, 2, 1] = np.nan
    return jnp.asarray(x), jnp.asarray(rng.normal(size=(8, 16)).astype("float32"))


def params():
    rng = np.random.default_rng(1)
    return {"w": jnp.asarray(rng.normal(size=(6,)).astype("float32")), "b": jnp.zeros(())}


def loss_of(p, x, y):
    return jnp.mean((x @ p["w"] + p["b"] - y) ** 2)


def make_step(tx, apply=None):
    def step(carry, batch):
        p, state = carry
        loss, grads = jax.value_and_grad(loss_of)(p, *batch)
        updates, state = tx.update(grads, state, p)
        new = (apply or optax.apply_updates)(p, updates)
        return (new, state), loss

    return step


def train(tx, batches, scan=False, jit=True, apply=None):
    carry = params(), tx.init(params())
    step = make_step(tx, apply)
    if scan:
        return jax.jit(lambda c: jax.lax.scan(step, c, batches))(carry)[0]
    step = jax.jit(step) if jit else step
    for x, y in zip(*batches, strict=True):
        carry, _ = step(carry, (x, y))
    return carry


def by_hand(p, updates):
    return jax.tree.map(lambda a, u: a + u, p, updates)


@pytest.mark.parametrize("way", ["jit", "scan", "eager", "by hand"])
def test_a_step_that_is_not_finite_moves_nothing(way):
    x, y = data()
    good = [i for i in range(8) if i != BAD]
    kind = {"scan": way == "scan", "jit": way != "eager"}
    kind |= {"apply": by_hand} if way == "by hand" else {}
    expected = train(optax.adam(1e-2), (x[jnp.array(good)], y[jnp.array(good)]), **kind)
    heard, tx = Heard(), optax.adam(1e-2)
    with watch(None, tx, settings(), heard):
        found = train(tx, (x, y), **kind)
    assert [step.applied for step in heard.steps] == [i != BAD for i in range(8)]
    assert heard.steps[BAD].non_finite > 0
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("way", ["jit", "scan", "eager"])
def test_the_guard_stops_the_training(way):
    heard, tx = Heard(), optax.sgd(1e-2)
    with (
        pytest.raises(GuardStopError, match=f"Step {BAD}"),
        watch(None, tx, settings("stop"), heard),
    ):
        jax.block_until_ready(train(tx, data(), scan=way == "scan", jit=way != "eager"))
    assert not heard.steps[-1].applied
    assert heard.steps[-1].step == BAD


@pytest.mark.parametrize("jit", [True, False])
def test_without_a_guard_the_step_goes_through(jit):
    tx = optax.sgd(1e-2)
    with watch(None, tx, settings("off")):
        found = train(tx, data(), jit=jit)
    assert np.isnan(np.asarray(found[0]["w"])).all()


@pytest.mark.parametrize("scale", [1e19, 1e-24, 1.0])
def test_norms_neither_overflow_nor_vanish(scale):
    rng = np.random.default_rng(5)
    gradients = {"a": rng.normal(size=(3, 40)), "b": rng.normal(size=7)}
    gradients = {k: (v * scale).astype("float32") for k, v in gradients.items()}
    gradients["b"][:3] = 0
    heard, tx = Heard(), optax.adam(1e-3)
    start = jax.tree.map(jnp.zeros_like, gradients)
    with watch(None, tx, settings("off"), heard):
        jax.jit(tx.update)(gradients, tx.init(start))
    wide = [g.astype(np.float64) for g in gradients.values()]
    norms = [math.sqrt((g**2).sum()) for g in wide]
    assert heard.steps[0].norm == pytest.approx(math.hypot(*norms), rel=1e-5)
    found = heard.details[0].tensors
    rms = [n / math.sqrt(g.size) for n, g in zip(norms, wide, strict=True)]
    np.testing.assert_allclose(found[:, 0], rms, rtol=1e-5)
    np.testing.assert_allclose(found[:, 1], [abs(g).max() for g in wide], rtol=1e-6)
    np.testing.assert_allclose(found[:, 2], [0, 3 / 7], rtol=1e-6)


def test_the_clip_bounds_what_the_optimizer_is_given():
    x, y = data()
    batches = x[:BAD], y[:BAD] * 100
    expected = train(optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1)), batches)[0]
    heard, tx = Heard(), optax.sgd(0.1)
    with watch(None, tx, settings_of(1.0, "skip:3", 1, None, "x"), heard):
        found = train(tx, batches)[0]
    np.testing.assert_allclose(found["w"], expected["w"], rtol=1e-5)
    assert all(step.clipped == pytest.approx(1.0, rel=1e-5) for step in heard.steps)


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("where", ["_pack", "after", "__init__", "send"])
def test_an_error_of_ours_ends_no_training(where, jit, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("a broken tap")

    x, y = data()
    batches = x[:BAD], y[:BAD]
    expected = train(optax.adam(1e-2), batches, jit=jit)[0]
    monkeypatch.setattr(tapping.UpdateMeasure, where, broken)
    tx = optax.adam(1e-2)
    with watch(None, tx, settings()):
        found = train(tx, batches, jit=jit)[0]
    np.testing.assert_array_equal(expected["w"], found["w"])
    assert "a broken tap" in caplog.text


@pytest.mark.parametrize("jit", [True, False])
def test_an_error_of_ours_on_the_host_ends_no_training(jit, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("a broken receiver")

    monkeypatch.setattr("evengrad.adapters.jax.tap.received.arrived_step", broken)
    x, y = data()
    tx = optax.adam(1e-2)
    with watch(None, tx, settings()):
        found = jax.block_until_ready(train(tx, (x[:BAD], y[:BAD]), jit=jit)[0])
    assert np.isfinite(np.asarray(found["w"])).all()
    assert "a broken receiver" in caplog.text


@pytest.mark.parametrize(
    "given",
    [
        settings("rollback:2"),
        Settings(folder=None, guard=Guard(spike=10.0)),
        settings_of("auto", "stop", 1, None, "x"),
    ],
)
def test_what_cannot_be_done_is_said(given):
    with pytest.raises(EvengradError, match="Expected"):
        watch(None, optax.sgd(0.1), given)


def test_two_optimizers_are_two_runs():
    first, second = optax.sgd(0.1), optax.adam(0.1)
    heard = Heard()
    with watch(None, second, settings(), heard):
        train(first, data())
        assert heard.steps == []
        train(second, data())
    assert len(heard.steps) == 8
