"""Keras on two devices of one process: ``python -m bench.distributed.on_devices FOLDER WAYS``.

It trains in each way, watched as ``run`` does, and once more with one device's share of one batch spoilt, and
writes what the runs recorded, and the weights that it began with, into FOLDER/BACKEND.json.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import evengrad
from bench.distributed.layered import BAD_STEP, BATCH, MOMENTUM, RATE, data
from evengrad.adapters.keras.live import arm
from evengrad.recording.guard import parse
from evengrad.recording.session import Watching
from evengrad.recording.settings import Settings
from evengrad.values.run import Subject

Trained = tuple[Any, list[Any]]
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")


@dataclass
class _Session:
    """What ``run`` gives an adapter."""

    settings: Settings
    script: str = "train.py"
    closed: bool = False
    run: Watching | None = None

    def watching(self, subject: Subject) -> Watching:
        """The only one."""
        assert self.run is None
        self.run = Watching(self.settings, subject)
        return self.run

    def trouble(self, error: BaseException) -> None:
        """A fault, which this is there to find."""
        raise error

    fail = trouble


def network() -> Any:
    """What ``layered.truth`` computes."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(8, "tanh", name="a"),
            layers.LayerNormalization(name="norm"),
            layers.Dense(6, name="b"),
            layers.Dense(3, name="head"),
        ]
    )


def optimizer() -> Any:
    """That of all trainings."""
    return keras.optimizers.SGD(RATE, MOMENTUM)


def _fit(x: Any, y: Any) -> Trained:
    model = network()
    start = model.get_weights()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(), loss)
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1)
    model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    return model, start


def _mirrored() -> Any:
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def mirrored_fit(x: Any, y: Any) -> Trained:
    """``Model.fit``."""
    with _mirrored().scope():
        return _fit(x, y)


def mirrored_loop(x: Any, y: Any) -> Trained:
    """As TensorFlow's guide to loops of one's own on several devices writes it."""
    import tensorflow as tf

    strategy = _mirrored()
    batches = tf.data.Dataset.from_tensor_slices((x, y)).unbatch().batch(BATCH)
    with strategy.scope():
        model, chosen = network(), optimizer()
        start = model.get_weights()

    def step(inputs: Any, labels: Any) -> None:
        with tf.GradientTape() as tape:
            loss = LOSS(labels, model(inputs, training=True)) / BATCH
        gradients = tape.gradient(loss, model.trainable_variables)
        chosen.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    @tf.function
    def everywhere(batch: Any) -> None:
        strategy.run(step, args=batch)

    for batch in strategy.experimental_distribute_dataset(batches):
        everywhere(batch)
    return model, start


def data_parallel(x: Any, y: Any) -> Trained:
    """The batch's rows on one device each half."""
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=_devices()))
    return _fit(x, y)


def model_parallel(x: Any, y: Any) -> Trained:
    """Columns of one layer, rows of the next."""
    mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), _devices())
    layout = keras.distribution.LayoutMap(mesh)
    layout["a/kernel"], layout["b/kernel"] = (None, "model"), ("model", None)
    spread = keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
    keras.distribution.set_distribution(spread)
    return _fit(x, y)


def _devices() -> list[str]:
    found: list[str] = keras.distribution.list_devices("cpu")
    assert len(found) == 2, found
    return found


WAYS: dict[str, Callable[[Any, Any], Trained]] = {
    function.__name__: function
    for function in (mirrored_fit, mirrored_loop, data_parallel, model_parallel)
}


def trained(way: str, folder: Path, *, spoilt: bool) -> dict[str, Any]:
    """What the run says. spoilt: the second device's share of one batch."""
    session = _Session(Settings(1, guard=parse("skip:3" if spoilt else "stop"), folder=folder))
    x, y = data()
    if spoilt:
        x[BAD_STEP, -1] = math.nan
    armed = arm(session)
    try:
        model, start = WAYS[way](x, y)
    finally:
        armed.disarm()
        keras.distribution.set_distribution(None)
    assert session.run is not None
    session.run.end("finished")
    run = evengrad.load(session.run.path)
    tensors = len(run.subject.tensors)
    return {
        "norm": run.steps["norm"].tolist(),
        "loss": run.steps["loss"].tolist(),
        "applied": run.steps["applied"].tolist(),
        "details": {
            name: run.details[name].reshape(-1, tensors).tolist()
            for name in run.details
            if name not in ("step", "tensor")
        },
        "off": session.run.off,
        "finite": all(bool(np.isfinite(w).all()) for w in model.get_weights()),
        "start": [weight.tolist() for weight in start],
    }


def main() -> None:
    """Train, in each of these ways."""
    folder, names = Path(sys.argv[1]), sys.argv[2].split(",")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        one = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [one, one])
    found = {
        name: {
            "healthy": trained(name, folder / name / "healthy", spoilt=False),
            "spoilt": trained(name, folder / name / "spoilt", spoilt=True),
        }
        for name in names
    }
    (folder / f"{os.environ['KERAS_BACKEND']}.json").write_text(json.dumps(found))
    os._exit(0)  # with a distributed data set TensorFlow does not come to its end


if __name__ == "__main__":
    main()
