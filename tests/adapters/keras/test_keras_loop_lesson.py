"""What a loop of the script's own is to learn: the targets of the loss that it differentiates."""

import keras
import numpy as np
import pytest

from evengrad.adapters.keras.tap.called import CalledLoss
from evengrad.adapters.keras.tap.loop_lesson import LoopLesson
from evengrad.adapters.keras.tap.native import Differentiated

pytestmark = pytest.mark.keras


def lesson(loss, labels, weight=None, scaled=1.0):
    found = LoopLesson()
    for some in np.array_split(labels, 4):
        targets = keras.ops.convert_to_tensor(some)
        value = keras.ops.convert_to_tensor(np.float32(1.0))
        target = value if scaled == 1.0 else value * scaled
        found.differentiated(
            Differentiated(target, (), ()), [CalledLoss(loss, targets, None, weight, value)]
        )
    return found.values()


def test_the_baseline_is_the_entropy_of_the_labels():
    labels = np.random.default_rng(0).integers(0, 3, 200)
    shares = np.bincount(labels) / 200
    found = lesson(keras.losses.SparseCategoricalCrossentropy(from_logits=True), labels)
    assert found["baseline"] == pytest.approx(-np.sum(shares * np.log(shares)))


def test_the_baseline_is_the_variance_of_the_targets():
    targets = np.random.default_rng(1).normal(size=(200, 1)).astype("float32")
    found = lesson(keras.losses.MeanSquaredError(), targets)
    assert found["baseline"] == pytest.approx(targets.var(), rel=1e-5)


@pytest.mark.parametrize(
    "more", [{"weight": np.ones(50)}, {"scaled": 2.0}], ids=["weighted", "not the loss itself"]
)
def test_it_is_not_known_of_anything_else(more):
    targets = np.random.default_rng(1).normal(size=(200, 1)).astype("float32")
    assert lesson(keras.losses.MeanSquaredError(), targets, **more).get("baseline") is None
