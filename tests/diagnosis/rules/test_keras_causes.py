"""Causes told apart, on the Keras backend at hand: as test_causes_torch, with a subclassed model."""

import numpy as np
import pytest

import evengrad
from evengrad import Cause

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras


class CNNModel(keras.Model):
    """A small CNN; the initialiser and the loss are arguments here."""

    def __init__(self, initialiser, head="softmax"):
        super().__init__()
        own = {"kernel_initializer": initialiser}
        self.conv1 = keras.layers.Conv2D(32, (3, 3), activation="relu", **own)
        self.conv2 = keras.layers.Conv2D(64, (3, 3), activation="relu", **own)
        self.flatten = keras.layers.Flatten()
        self.dense1 = keras.layers.Dense(128, activation="relu", **own)
        self.dense2 = keras.layers.Dense(10, activation=head, **own)

    def call(self, inputs):
        x = self.conv1(inputs)
        x = self.conv2(x)
        x = self.flatten(x)
        x = self.dense1(x)
        return self.dense2(x)


def digits(seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(32, 28, 28, 1)) * (rng.uniform(size=(32, 28, 28, 1)) < 0.2)
    return x.astype(np.float32), rng.integers(0, 10, 32)


def scaled(gain):
    return keras.initializers.VarianceScaling(gain**2, "fan_in", "untruncated_normal", seed=1)


def check(model, seed, from_logits=False):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    model.compile(optimizer="adam", loss=loss)
    return evengrad.check(model, batch=digits(seed))


@pytest.mark.parametrize("seed", range(2))
def test_exploding_by_initialisation_alone(seed):
    keras.utils.set_random_seed(seed)
    found = check(CNNModel(scaled(16.0), head=None), seed, from_logits=True).findings
    assert [f.code for f in found] == ["EG301"]
    assert found[0].cause is Cause.INITIALISATION
    assert "EG101" in {echo.code for echo in found[0].echoes}
    assert set(found[0].layers) == {"conv1", "conv2", "dense1", "dense2"}


@pytest.mark.once
def test_exploding_behind_a_saturated_softmax():
    """Weights so large that the softmax is sure of itself: on JAX and PyTorch Keras clips such
    probabilities, and not a single gradient leaves the loss. The cause stays the same.
    """
    keras.utils.set_random_seed(0)
    found = check(CNNModel(scaled(16.0)), 0).findings
    assert [f.code for f in found] == ["EG301"]
    assert {echo.code for echo in found[0].echoes} & {"EG101", "EG102"}


@pytest.mark.once
@pytest.mark.parametrize("seed", range(2))
def test_vanishing_by_activation_alone(seed):
    keras.utils.set_random_seed(seed)
    hidden = [
        keras.layers.Dense(64, activation="sigmoid", kernel_initializer=scaled(1.84623))
        for _ in range(12)
    ]
    end = keras.layers.Dense(10, activation="softmax")
    found = check(keras.Sequential([keras.layers.Flatten(), *hidden, end]), seed).findings
    assert [f.code for f in found] == ["EG203"]
    assert found[0].cause is Cause.ACTIVATION
    assert {echo.code for echo in found[0].echoes} == {"EG102"}


@pytest.mark.once
@pytest.mark.parametrize("seed", range(2))
def test_the_network_with_he_weights_is_healthy(seed):
    keras.utils.set_random_seed(seed)
    assert check(CNNModel("he_normal"), seed).findings == ()


def test_a_softmax_that_is_applied_twice():
    """A softmax with from_logits=True: undone on TensorFlow, live on JAX and PyTorch; the report says."""
    keras.utils.set_random_seed(0)
    found = check(CNNModel("he_normal"), 0, from_logits=True).findings
    assert [f.code for f in found] == ["EG501"]
    undone = keras.backend.backend() == "tensorflow"
    assert found[0].severity is (evengrad.Severity.WARNING if undone else evengrad.Severity.ERROR)
    words = " ".join(found[0].evidence)
    assert ("silently undoes it" in words) == undone
    assert ("applied twice: live" in words) == (not undone)
