"""What is seen of the losses of a Keras script: targets that have no meaning there, heads of one unit."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from evengrad.adapters.keras.facts.batch import facts_of

pytestmark = pytest.mark.keras
RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)).astype("float32")
YES = (X[:, :1] > 0).astype("float32")
KIND = (X[:, 0] > 0).astype("int32") + (X[:, 1] > 0)


def own(y_true, y_pred):
    """A user's loss around one of Keras'."""
    inner = keras.losses.binary_crossentropy(y_true, y_pred)
    return ops.mean(inner) + ops.mean(y_pred)


def apart(y_true, y_pred):
    """A user's loss without."""
    return 1 - ops.sum(y_true * y_pred) / (ops.sum(y_true) + ops.sum(y_pred) + 1)


def scaled(y_true, y_pred):
    """A user's loss that brings the targets into range."""
    return keras.losses.binary_crossentropy(y_true / 255.0, y_pred)


def facts(loss, y, units=1, head="sigmoid"):
    net = keras.Sequential(
        [keras.Input((4,)), layers.Dense(8, "relu"), layers.Dense(units, activation=head)]
    )
    net.compile("sgd", loss=loss)
    before = net.get_weights()
    found = facts_of(net, (X, y))
    for a, b in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    return found


@pytest.mark.parametrize(
    ("loss", "y", "units", "head", "function", "kind"),
    [
        ("binary_crossentropy", 255 * YES, 1, "sigmoid", "binary_crossentropy", "probability"),
        (
            keras.losses.BinaryCrossentropy(from_logits=True),
            2 * YES - 1,
            1,
            None,
            "binary_crossentropy",
            "probability",
        ),
        (own, 255 * YES, 1, "sigmoid", "binary_crossentropy", "probability"),
        (apart, 255 * YES, 1, "sigmoid", "apart", "reach"),
        ("mse", 100 * YES, 1, "sigmoid", "mean_squared_error", "reach"),
        ("mse", 3 * X[:, :1], 1, "tanh", "mean_squared_error", "reach"),
        ("poisson", X[:, :1], 1, "exponential", "poisson", "count"),
        (
            "sparse_categorical_crossentropy",
            KIND + 1,
            3,
            "softmax",
            "sparse_categorical_crossentropy",
            "class",
        ),
        (
            "categorical_crossentropy",
            np.ones((32, 3)),
            3,
            "softmax",
            "categorical_crossentropy",
            "distribution",
        ),
        ("hinge", 3 * YES, 1, None, "hinge", "sign"),
    ],
)
def test_targets_that_the_loss_has_no_meaning_for(loss, y, units, head, function, kind):
    (fact,) = facts(loss, y, units, head)
    assert fact.kind == "targets_outside"
    assert (fact.values["function"], fact.values["kind"]) == (function, kind)
    assert fact.values["low"] == pytest.approx(float(np.min(y)), rel=1e-5)
    assert fact.values["high"] == pytest.approx(float(np.max(y)), rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "y", "units", "head"),
    [
        ("binary_crossentropy", YES, 1, "sigmoid"),
        ("binary_crossentropy", 0.9 * YES + 0.05, 1, "sigmoid"),
        (scaled, 255 * YES, 1, "sigmoid"),
        ("mse", YES, 1, "sigmoid"),
        ("mse", 100 * YES, 1, None),
        ("hinge", YES, 1, None),
        ("sparse_categorical_crossentropy", KIND, 3, "softmax"),
        ("categorical_crossentropy", np.eye(3)[KIND], 3, "softmax"),
        (keras.losses.CategoricalCrossentropy(label_smoothing=0.1), np.eye(3)[KIND], 3, "softmax"),
    ],
)
def test_targets_as_the_loss_expects_them(loss, y, units, head):
    assert facts(loss, y, units, head) == ()


def test_the_line_is_the_call_in_the_users_loss():
    (fact,) = facts(own, 255 * YES)
    assert fact.where.code == "keras.losses.binary_crossentropy(y_true, y_pred)"


@pytest.mark.parametrize("loss", ["binary_crossentropy", "mse", "categorical_crossentropy"])
def test_a_softmax_over_one_unit(loss):
    (fact,) = facts(loss, YES, 1, "softmax")
    assert fact.kind == "one_unit_softmax"
    assert (fact.values["problem"], fact.values["shape"]) == ("one", [32, 1])
