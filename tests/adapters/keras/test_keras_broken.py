"""Whatever of the tap breaks, a training goes on unwatched, bit for bit, and one line says so: each seam at
which a Keras training is stepped into, on each backend.
"""

from functools import cache

import keras
import numpy as np
import pytest
from keras import ops

from tests.broken import goes_on

pytestmark = pytest.mark.keras
BACKEND = keras.backend.backend()
LOSS = keras.losses.MeanSquaredError()


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")


def batches():
    x, y = data()
    return [(x[i : i + 8], y[i : i + 8]) for i in (0, 8)]


def network(kind=keras.Model):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4,))
    return kind(inputs, keras.layers.Dense(2, name="dense")(inputs))


def values(losses, *owners):
    known = [v for owner in owners for v in owner.variables]
    found = [v for v in known if "seed" not in v.path and "evengrad" not in v.path]
    return [np.asarray(losses), *(np.array(ops.convert_to_numpy(v)) for v in found)]


def by_fit(model=None):
    model = model or network()
    model.compile("adam", LOSS)
    x, y = data()
    history = model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    return values(history.history["loss"], model, model.optimizer)


def by_batch():
    model = network()
    model.compile("adam", LOSS)
    return values([model.train_on_batch(x, y) for x, y in batches()], model, model.optimizer)


def by_train_step():
    import tensorflow as tf

    class Own(keras.Model):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = LOSS(y, self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"loss": loss}

    return by_fit(network(Own))


def by_tape(compiled):
    import tensorflow as tf

    model, optimizer = network(), keras.optimizers.Adam()

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = LOSS(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    step = tf.function(step) if compiled else step
    return values([float(step(x, y)) for x, y in batches()], model, optimizer)


def by_replicas():
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        return by_fit()


def by_stateless():
    import jax

    model, optimizer = network(), keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)

    def loss_of(trained, x, y):
        return LOSS(y, model.stateless_call(trained, [], x, training=True)[0])

    @jax.jit
    def step(trained, own, x, y):
        loss, gradients = jax.value_and_grad(loss_of)(trained, x, y)
        return loss, *optimizer.stateless_apply(own, gradients, trained)

    trained = [v.value for v in model.trainable_variables]
    own, losses = [v.value for v in optimizer.variables], []
    for x, y in batches():
        loss, trained, own = step(trained, own, x, y)
        losses.append(float(loss))
    jax.effects_barrier()
    return [np.asarray(losses), *map(np.asarray, [*trained, *own])]


def by_backward():
    import torch

    model, optimizer, losses = network(), keras.optimizers.Adam(), []
    for x, y in batches():
        loss = LOSS(torch.as_tensor(y), model(x, training=True))
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            optimizer.apply(
                [v.value.grad for v in model.trainable_variables], model.trainable_variables
            )
        losses.append(loss.item())
    return values(losses, model, optimizer)


TRAININGS = {
    "fit": by_fit,
    "train_on_batch": by_batch,
    "train_step": by_train_step,
    "tape": lambda: by_tape(compiled=True),
    "eager tape": lambda: by_tape(compiled=False),
    "replicas": by_replicas,
    "stateless": by_stateless,
    "backward": by_backward,
}
LOOK = "tap.tap_torch.TorchTap.look" if BACKEND == "torch" else "tap.tap.KerasTap.look"
FIT = ("live._KerasLive.begin", "tap.watched.Watched.__init__", LOOK, "tap.watched.figures")
FIT = (*FIT, "tap.watched.Watched._look_after")
LOOP = ("tap.loops.Loops._passes", "tap.loop.WatchedLoop._make")
SEAMS = {
    "tensorflow": {
        "fit": ("live._KerasLive.fit", "live.class_facts", "tap.fitting.Fitting.put_on", *FIT),
        "train_on_batch": ("live._KerasLive.begin", LOOK),
        "train_step": (*LOOP, LOOK),
        "tape": (*LOOP, LOOK, "tap.native.run_by_host", "tap.listening.Listening.hear"),
        "eager tape": (*LOOP, LOOK, "tap.watched.Watched._look_after"),
        "replicas": ("tap.watched.Watched.__init__", LOOK, "tap.watched.Watched._look_after"),
    },
    "jax": {
        "fit": ("live._KerasLive.fit", "live.class_facts", "tap.fitting.Fitting.put_on", *FIT),
        "train_on_batch": ("live._KerasLive.begin", LOOK),
        "stateless": (*LOOP, "tap.loop_jax.passes", "tap.loop_jax.WatchedLoopInJax.step"),
    },
    "torch": {
        "fit": ("live._KerasLive.fit", "live.class_facts", "tap.fitting.Fitting.put_on", *FIT),
        "train_on_batch": ("live._KerasLive.begin", LOOK),
        "backward": (*LOOP, LOOK, "tap.watched.Watched._look_after"),
    },
}


@cache
def bare(name):
    return TRAININGS[name]()


@pytest.mark.parametrize(
    ("name", "place"),
    [(name, place) for name, places in SEAMS[BACKEND].items() for place in places],
)
def test_a_broken_tap_ends_no_training(name, place, tmp_path, monkeypatch):
    goes_on("keras", TRAININGS[name], bare(name), place, tmp_path, monkeypatch)
