"""A loop of the script's own under Keras, from its mistake to the proof of the patched script."""

from __future__ import annotations

import textwrap

import here
import keras
import pytest

from evengrad.fixing import trials
from evengrad.fixing.fix import fix_script
from evengrad.fixing.outcome import FixPlan
from evengrad.fixing.trials import Silent

pytestmark = [
    pytest.mark.keras,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a GradientTape"),
]

LOOP = """
    import keras
    import numpy as np
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(640, 8)).astype("float32")
    y = (x[:, 0] > 0).astype("int32") + 2 * (x[:, 1] > 0).astype("int32")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(4)])
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.2))
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = loss_fn(labels, model(images, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss


    for _ in range(4):
        for images, labels in data:
            step(images, labels)
"""


def test_a_loss_that_is_never_scaled(tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "execute", here.execute)
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(LOOP))
    plan = FixPlan(str(script), steps=60, seeds=2, reference=False, folder=tmp_path / "fixes")
    found = fix_script(plan, Silent())
    assert found.status == "fixed", found.message or [a.verdict.why for a in found.attempts]
    assert found.chosen.remedy == "scaled_loss"
    assert "+        scaled_loss = optimizer.scale_loss(loss)" in found.diff
    assert [attempt.result.end for attempt in found.proof] == ["finished"]
    assert len(found.plain[0].result.losses) < 60  # what is clear by a mistake needs no more
