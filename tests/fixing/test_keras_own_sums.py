"""What a trial sums up itself is no loss of the script's."""

import here
import keras
import pytest

from evengrad.fixing.trial import Trial
from evengrad.recording.reader import load

pytestmark = [
    pytest.mark.keras,
    pytest.mark.skipif(
        keras.backend.backend() == "jax", reason="nobody sees there what is summed up"
    ),
]

SCRIPT = """
import keras, numpy as np
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(640, 8)).astype("float32")
y = np.abs(x[:, 0] * 4).astype("int32") % 10
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(10)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.SGD(0.05), loss)
model.fit(x, y, batch_size=32, epochs=2, verbose=0)
"""


def test_how_many_examples_are_withheld_is_no_sum_of_losses(tmp_path):
    """Of 32 in a batch two to four are: a loss of that size was once taken for the sum that counts them."""
    (tmp_path / "train.py").write_text(SCRIPT)
    found = here.execute(Trial("train.py", steps=40), tmp_path / "trial", str(tmp_path))
    assert found.withheld
    assert not load(found.run).facts
