"""Which losses of ordinary Keras trainings have a constant baseline, and which: of what they backpropagate."""

import math

import keras
import numpy as np
import pytest
from keras import layers, ops

from evengrad.adapters.keras import trying
from evengrad.recording.baseline import Baseline

pytestmark = pytest.mark.keras

LN4 = math.log(4)
ROWS = np.random.RandomState(0).normal(size=(96, 6)).astype("float32")
CLASSES = np.arange(96) % 4
WEIGHTS = np.linspace(0.5, 1.5, 96).astype("float32")


class Session:
    """Of a trial that changes nothing."""

    changes, seed, withheld = (), 0, 10
    measured = False

    def __init__(self):
        self.baseline = Baseline()
        self.targets, self.backpropagated = self.baseline.targets, self.baseline.backpropagated

    def started(self): ...
    def note(self, text): ...
    def held_out(self, loss, examples): ...
    def epoch(self, steps): ...

    def stepped(self):
        return False


class Penalty(layers.Layer):
    def call(self, inputs):
        self.add_loss(0.1 * ops.mean(ops.square(inputs)))
        return inputs


class OwnStep(keras.Model):
    """As Keras' guide to custom training: a further term, added behind ``compute_loss``."""

    def train_step(self, *args, **kwargs):
        return super().train_step(*args, **kwargs)


class OwnLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        return loss + 0.1 * ops.mean(ops.absolute(y_pred))


def network(kind=keras.Model, middle=None, **more):
    keras.utils.set_random_seed(3)
    given = keras.Input((6,))
    x = layers.Dense(8, activation="tanh", **more)(given)
    return kind(given, layers.Dense(4)(x if middle is None else middle(x)))


def fitted(model, y=CLASSES, size=16, given=None, **compiled):
    """The baseline of two epochs."""
    session = Session()
    armed = trying.arm(session)
    try:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), **{"loss": loss, **compiled})
        model.fit(ROWS, y, batch_size=size, epochs=2, verbose=0, **(given or {}))
    finally:
        armed.disarm()
    return session.baseline.loss


def sparse(**settings):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **settings)


def smoothed(model):
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    return fitted(model, np.eye(4)[CLASSES], loss=loss)


CASES = {
    "a loss": (lambda: fitted(network()), LN4),
    "squares": (lambda: fitted(network(), np.eye(4)[CLASSES], loss="mse"), 3 / 16),
    "add_loss": (lambda: fitted(network(middle=Penalty())), None),
    "a regularizer": (
        lambda: fitted(network(kernel_regularizer=keras.regularizers.L2(0.01))),
        None,
    ),
    "a weight of the loss": (lambda: fitted(network(), loss_weights=[0.25]), LN4 / 4),
    "weights of examples": (
        lambda: fitted(network(), given={"sample_weight": WEIGHTS}),
        None,
    ),
    "weights of classes": (
        lambda: fitted(network(), given={"class_weight": {0: 1, 1: 2, 2: 3, 3: 4}}),
        None,
    ),
    "summed": (lambda: fitted(network(), loss=sparse(reduction="sum")), 16 * LN4),
    "summed, the last batch smaller": (
        lambda: fitted(network(), size=28, loss=sparse(reduction="sum")),
        None,
    ),
    "smoothed labels": (lambda: smoothed(network()), None),
    "an ignored class": (lambda: fitted(network(), loss=sparse(ignore_class=0)), None),
    "a train_step of its own": (lambda: fitted(network(OwnStep)), None),
    "a compute_loss of its own": (lambda: fitted(network(OwnLoss)), None),
}


@pytest.mark.parametrize("name", CASES)
def test_the_baseline_is_of_what_is_backpropagated(name):
    run, wanted = CASES[name]
    found = run()
    assert found is None if wanted is None else found == pytest.approx(wanted, rel=0.05)


def test_two_outputs_have_none():
    given = keras.Input((6,))
    x = layers.Dense(8, activation="tanh")(given)
    model = keras.Model(given, [layers.Dense(4)(x), layers.Dense(1)(x)])
    targets = [CLASSES, ROWS[:, :1]]
    assert fitted(model, targets, loss=[sparse(), "mse"]) is None


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="a loop of PyTorch's")
@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        ("torch.nn.functional.cross_entropy(out, y)", LN4),
        ("sparse(y, out)", LN4),  # Keras calls PyTorch's
        ("sparse(y, out) + keras.ops.mean(keras.ops.abs(out))", None),
        ("keras.losses.LogCosh()(one_hot, out)", None),
    ],
)
def test_a_keras_model_in_a_loop_of_pytorch(loss, wanted):
    import torch

    from evengrad.adapters.torch import trying as torch_trying

    session = Session()
    armed = [trying.arm(session), torch_trying.arm(session)]
    try:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        labels = torch.tensor(CLASSES)
        known = {"torch": torch, "keras": keras, "sparse": sparse(), "y": labels}
        known["one_hot"] = torch.nn.functional.one_hot(labels).float()
        model.train()
        for _ in range(10):
            optimizer.zero_grad()
            out = model(torch.tensor(ROWS).to(next(model.parameters()).device))
            eval(loss, known | {"out": out}).backward()
            optimizer.step()
    finally:
        for one in armed:
            one.disarm()
    found = session.baseline.loss
    assert found is None if wanted is None else found == pytest.approx(wanted, rel=0.02)
