"""The rate that a Keras loss bears, against closed forms of a linear model, on each backend."""

from dataclasses import replace

import keras
import numpy as np
import pytest

import evengrad
from evengrad.adapters.keras.backend.differentiate import forward
from evengrad.adapters.keras.probe import _Probing
from evengrad.adapters.keras.trace.losses import DataLoss
from evengrad.adapters.keras.trace.replay import Replay
from evengrad.theory.stability import PASSES

pytestmark = pytest.mark.keras


def linear(seed, optimizer, batch=40, width=5):
    rng = np.random.default_rng(seed)
    model = keras.Sequential([keras.Input((width,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer=optimizer, loss="mse")
    w = rng.normal(size=(width, 1)).astype("float32")
    model.layers[0].kernel.assign(w)
    x = (rng.normal(size=(batch, width)) * np.linspace(0.5, 2, width)).astype("float32")
    y = rng.normal(size=(batch, 1)).astype("float32")
    hessian = 2 / batch * x.T @ x
    gradient = (hessian @ w - 2 / batch * x.T @ y)[:, 0]
    return model, (x, y), hessian, gradient


@pytest.mark.parametrize("seed", range(3))
def test_critical_rate_and_sharpness_of_sgd(seed):
    model, batch, hessian, g = linear(seed, keras.optimizers.SGD(1e-2, momentum=0.9))
    rate = evengrad.check(model, batch=batch, precise=True).probe.rate
    assert rate.passes <= PASSES
    assert rate.method.momentum == pytest.approx(0.9)
    assert rate.critical == pytest.approx(2 * (g @ g) / (g @ hessian @ g), rel=0.35)
    assert rate.sharpness == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=0.02)


@pytest.mark.parametrize("seed", range(2))
def test_sharpness_is_preconditioned_as_adam_does(seed):
    model, batch, hessian, g = linear(seed, keras.optimizers.Adam(1e-3))
    rate = evengrad.check(model, batch=batch, precise=True).probe.rate
    root = 1 / np.sqrt(np.abs(g) + 1e-7)
    scaled = root[:, None] * hessian * root
    assert rate.method.family == "adam"
    assert rate.sharpness == pytest.approx(np.linalg.eigvalsh(scaled)[-1], rel=0.02)
    u = np.sign(g)
    assert rate.critical == pytest.approx(2 * (g @ u) / (u @ hessian @ u), rel=0.35)


def test_nothing_is_changed_and_dropout_keeps_its_coins():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
    before = [np.array(keras.ops.convert_to_numpy(v.value)) for v in model.variables]
    batch = np.random.default_rng(0).normal(size=(16, 6)).astype("float32"), np.arange(16) % 3
    first = evengrad.check(model, batch=batch).probe.rate
    second = evengrad.check(model, batch=batch).probe.rate
    assert first is not None
    assert first.critical == second.critical
    after = [np.array(keras.ops.convert_to_numpy(v.value)) for v in model.variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert (
        not model.optimizer.built
        or int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 0
    )


def test_dropout_tosses_the_same_coins_in_each_pass():
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(30), layers.Dropout(0.5), layers.Dense(1)]
    )
    model.compile(optimizer="sgd", loss="mse")
    x = np.random.default_rng(1).normal(size=(16, 6)).astype("float32")
    data = (keras.ops.convert_to_tensor(x), keras.ops.ones((16, 1)), None)
    probing = _Probing(model, data, DataLoss(model, None), model.optimizer)
    run = Replay(probing.trace, (probing.trainable, probing.others), probing.loss).run
    here = [v.value for v in probing.trainable]
    loss = forward(run, [v.value for v in probing.others], probing.data)
    first, moved, again = loss(here), loss([w + 0.1 for w in here]), loss(here)
    assert first == again
    assert moved != first


def plain(values):
    return np.array(keras.ops.convert_to_numpy(values), dtype=np.float64)


@pytest.mark.parametrize("scaled", [False, True])
def test_the_rate_does_not_hang_on_how_small_the_present_one_is(scaled):
    for now in (1e-2, 1e-9):
        optimizer = keras.optimizers.SGD(now)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        model, batch, hessian, g = linear(5, optimizer)
        rate = evengrad.check(model, batch=batch).probe.rate
        assert rate.learning_rate == pytest.approx(now)
        assert rate.passes <= PASSES
        assert rate.critical == pytest.approx(2 * (g @ g) / (g @ hessian @ g), rel=0.35)


def test_a_penalty_counts_in_the_loss_as_in_the_update():
    model, batch, hessian, g = linear(6, keras.optimizers.SGD(1e-2))
    layer = model.layers[0]
    layer.kernel.regularizer = keras.regularizers.L2(3.0)
    rate = evengrad.check(model, batch=batch, precise=True).probe.rate
    g = g + 6.0 * plain(layer.kernel)[:, 0]
    hessian = hessian + 6.0 * np.eye(len(g))
    assert rate.critical == pytest.approx(2 * (g @ g) / (g @ hessian @ g), rel=0.2)
    assert rate.sharpness == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=0.02)


def _centred(gradients):
    second, mean = 0.0, 0.0
    for g in gradients:
        second, mean = 0.9 * second + 0.1 * g**2, 0.9 * mean + 0.1 * g
    return np.sqrt(second - mean**2 + 1e-7)


def _largest(gradients):
    found = np.zeros_like(gradients[0])
    for g in gradients:
        found = np.maximum(0.99 * found, np.abs(g))
    return found + 1e-7


def _ams(gradients):
    second, found = 0.0, np.zeros_like(gradients[0])
    for g in gradients:
        second = 0.99 * second + 0.01 * g**2
        found = np.maximum(found, second)
    return (np.sqrt(found) + 1e-7) / np.sqrt(1 - 0.99 ** len(gradients))


@pytest.mark.parametrize(
    ("name", "options", "by_hand"),
    [
        ("RMSprop", {"rho": 0.9, "centered": True}, _centred),
        ("Adamax", {"beta_2": 0.99}, _largest),
        ("Adam", {"beta_2": 0.99, "amsgrad": True}, _ams),
    ],
)
def test_sharpness_is_preconditioned_as_each_optimizer_does(name, options, by_hand):
    """After two steps, so that no formula coincides with another; and a subclass is what it is made of."""
    base = getattr(keras.optimizers, name)
    kind = type("Mine", (base,), {})
    model, (x, y), hessian, g = linear(7, kind(1e-2, **options))
    optimizer, kernel, gradients = model.optimizer, model.layers[0].kernel, [g]
    optimizer.build([kernel])
    for _ in range(2):
        optimizer.apply_gradients(
            [(keras.ops.convert_to_tensor(gradients[-1][:, None], "float32"), kernel)]
        )
        gradients.append((hessian @ plain(kernel) - 2 / len(x) * x.T @ y)[:, 0])
    rate = evengrad.check(model, batch=(x, y), precise=True).probe.rate
    assert rate.method.family == ("rmsprop" if name == "RMSprop" else "adam")
    root = 1 / np.sqrt(by_hand(gradients))
    scaled = root[:, None] * hessian * root
    assert rate.sharpness == pytest.approx(np.linalg.eigvalsh(scaled)[-1], rel=0.02)


@pytest.mark.parametrize("taken", [0, 3])
def test_accumulated_gradients_have_a_rate_and_an_update(taken):
    schedule = keras.optimizers.schedules.ExponentialDecay(1e-2, 2, 0.5)
    optimizer = keras.optimizers.SGD(schedule, gradient_accumulation_steps=4)
    model, batch, hessian, g = linear(8, optimizer)
    if taken:
        optimizer.build(model.trainable_variables)
        noise = keras.ops.ones((5, 1))
        for _ in range(taken):
            optimizer.apply_gradients([(noise, model.layers[0].kernel)])
    before = [plain(v) for v in optimizer.variables]
    found = evengrad.check(model, batch=batch).probe
    now = 1e-2 * 0.5 ** (taken / 2)
    assert found.rate.learning_rate == pytest.approx(now)
    assert found.rate.critical == pytest.approx(2 * (g @ g) / (g @ hessian @ g), rel=0.35)
    assert found.weights[0].update == pytest.approx(now * np.sqrt(np.mean(g**2)), rel=1e-3)
    assert all(
        np.array_equal(a, plain(b)) for a, b in zip(before, optimizer.variables, strict=False)
    )


def test_an_update_that_is_not_finite_is_a_note():
    model, (x, y), *_ = linear(8, keras.optimizers.SGD(1e-2))
    x[0, 0] = np.inf
    found = evengrad.check(model, batch=(x, y)).probe
    assert found.rate is None
    assert any("not finite" in note for note in found.notes)


def test_attention_has_a_sharpness():
    """On PyTorch Keras calls the fused kernel, which has no second derivative."""
    layers = keras.layers
    rates = []
    for fused in (True, False):
        keras.utils.set_random_seed(3)
        inputs = keras.Input((5, 8))
        q, k, v = (layers.Reshape((5, 1, 8))(layers.Dense(8)(inputs)) for _ in range(3))
        if fused:
            mixed = keras.ops.dot_product_attention(q, k, v)
        else:
            logits = keras.ops.einsum("bihz,bjhz->bhij", q, k) / 8**0.5
            mixed = keras.ops.einsum("bhij,bjhz->bihz", keras.ops.softmax(logits), v)
        model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(mixed)))
        model.compile(optimizer=keras.optimizers.SGD(1e-2), loss="mse")
        rng = np.random.default_rng(0)
        batch = rng.normal(size=(6, 5, 8)).astype("float32"), rng.normal(size=(6, 1))
        rates.append(evengrad.check(model, batch=batch, precise=True).probe.rate)
    assert rates[0].sharpness == pytest.approx(rates[1].sharpness, rel=1e-2)
    assert rates[0].critical == pytest.approx(rates[1].critical, rel=0.1)


def test_without_a_second_derivative_the_critical_rate_stays(monkeypatch):
    def fails(*_):
        raise NotImplementedError("no second derivative")

    model, batch, *_ = linear(9, keras.optimizers.SGD(1e-2))
    plain_rate = evengrad.check(model, batch=batch).probe.rate
    monkeypatch.setattr("evengrad.adapters.keras.measure.rate.curvature", fails)
    found = evengrad.check(model, batch=batch, precise=True).probe
    assert replace(found.rate, later=None) == plain_rate
    assert any("no second derivative" in note for note in found.notes)
