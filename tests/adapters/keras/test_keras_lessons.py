"""What a Keras training is to learn, as its first batches show it, against plain arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evengrad.recording.reader import load
from evengrad.recording.settings import Settings
from evengrad.verbs.run_script import run_script

SCRIPT = """
import keras
import numpy as np
from keras import layers
keras.utils.set_random_seed(0)
x = (3 * np.random.randn(320, 5)).astype("float32")
y = np.random.randint(0, 3, 320)
model = keras.Sequential([layers.Input((5,)), BEFORElayers.Dense(16, activation="relu"MORE), layers.Dense(3)])
model.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(x, y, batch_size=32, epochs=4, shuffle=False, verbose=0WEIGHTS)
"""

pytestmark = pytest.mark.keras


def seen(folder, *, before="", more="", weights=""):
    script = folder / "train.py"
    source = SCRIPT.replace("BEFORE", before).replace("MORE", more).replace("WEIGHTS", weights)
    script.write_text(source)
    outcome = run_script(str(script), settings=Settings(folder=folder / "runs"))
    assert outcome.error is None, outcome.error
    (path,) = outcome.runs
    return load(path).seen


def test_baseline_and_inputs(tmp_path):
    found = seen(tmp_path)
    assert found["objective"] == ["crossentropy"]
    assert found["baseline"] == pytest.approx(math.log(3), abs=0.03)
    assert found["input_rms"] == pytest.approx(3, rel=0.1)
    assert (found["target_low"], found["target_high"]) == (0, 2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"weights": ", sample_weight=np.linspace(0.1, 1, 320)"}, {"baseline": None}),
        ({"more": ', kernel_regularizer="l2"'}, {"penalty": pytest.approx(0.01 * 5, rel=1.0)}),
        ({"before": "layers.Rescaling(0.1), "}, {"input_rms": None}),
    ],
    ids=["weights", "penalty", "rescaled"],
)
def test_what_is_not_plain(tmp_path, changes, says):
    found = seen(tmp_path, **changes)
    for name, value in says.items():
        assert found.get(name) == value
    assert np.isfinite(found.get("baseline") or 0)


OWN = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
x = np.random.randn(320, 5).astype("float32")
y = (5 + 2 * np.random.randn(320)).astype("float32")


def quartic(y_true, y_pred):
    return keras.ops.mean((y_true - y_pred) ** 4, axis=-1)


model = keras.Sequential([keras.layers.Input((5,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(1e-5), LOSS)
model.fit(x, y, batch_size=32, epochs=4, verbose=0)
"""


@pytest.mark.parametrize(
    ("loss", "constant"),
    [("quartic", lambda e: e**4), ("'huber'", lambda e: np.where(e < 1, e**2 / 2, e - 0.5))],
)
def test_a_loss_that_nothing_is_known_of_is_asked_for_the_mean_of_the_targets(
    tmp_path, loss, constant
):
    script = tmp_path / "train.py"
    script.write_text(OWN.replace("LOSS", loss))
    outcome = run_script(str(script), settings=Settings(folder=tmp_path / "runs"))
    assert outcome.error is None, outcome.error
    seen = load(outcome.runs[0]).seen
    rng = np.random.RandomState(0)
    rng.randn(320, 5)
    y = 5 + 2 * rng.randn(320)
    assert seen["baseline_loose"]
    assert seen["baseline"] == pytest.approx(constant(np.abs(y - y.mean())).mean(), rel=0.15)
