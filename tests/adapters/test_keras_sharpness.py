"""The rate that a Keras loss bears, against closed forms of a linear model, on each backend."""

import keras
import numpy as np
import pytest

import evengrad
from evengrad.adapters.keras.differentiate import forward
from evengrad.adapters.keras.losses import DataLoss
from evengrad.adapters.keras.probe import _Probing
from evengrad.adapters.keras.replay import Replay
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
