"""The traps of PEERS that are not yet in test_keras_probe, on the backend at hand."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from evengrad.adapters.keras.probe import probe
from evengrad.values.finding import Cause
from evengrad.verbs.check import check_probe

pytestmark = pytest.mark.keras

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def batch(features=5):
    rng = np.random.default_rng(3)
    return rng.normal(size=(6, features)).astype("float32"), rng.integers(0, 4, 6)


def test_trap_1_one_nan_does_not_spread():
    """A clip would make every gradient NaN; here only the weights behind the fault are marked."""
    keras.utils.set_random_seed(1)
    x = keras.Input((5,))
    good = layers.Dense(4, name="good")(x)
    bad = layers.Dense(4, name="bad")(x)
    model = keras.Model(x, good + ops.sqrt(bad * 0.0))  # a slope of 0 times infinity
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=1.0)
    measured = probe(model, loss=LOSS, batch=batch(), optimizer=optimizer)
    assert measured.weight("bad/kernel").gradient.non_finite > 0
    assert measured.weight("good/kernel").gradient.non_finite == 0
    assert measured.weight("good/kernel").gradient.rms > 0
    found = check_probe(measured).findings
    assert found[0].code == "EG103"
    assert "sqrt" in found[0].layers[0]


def test_trap_6_vanishing_is_seen_where_the_global_norm_is_not_small():
    keras.utils.set_random_seed(2)
    hidden = [layers.Dense(32, activation="sigmoid", name=f"d{i}") for i in range(20)]
    model = keras.Sequential([keras.Input((5,)), *hidden, layers.Dense(4)])
    measured = probe(model, loss=LOSS, batch=batch())
    total = np.hypot.reduce([w.gradient.norm for w in measured.weights])
    assert total > 0.1, "an absolute threshold on the global norm sees nothing"
    assert measured.weight("d0/kernel").gradient.norm < 1e-8
    assert check_probe(measured).findings[0].cause is Cause.ACTIVATION
