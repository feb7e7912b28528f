"""EG955 normalisation of one value: its mean is the value itself, and nothing of it is left.

What it finds: a BatchNormalization that is trained on batches of one sample, without pixels or time steps to
take statistics of; or a LayerNormalization over an axis of length 1.

Why it matters: a value less its own mean is 0, whatever the value was. The layer's output is its beta, the same
for every sample; no gradient comes through it, and nothing before it learns. In evaluation the moving
statistics are used, and the network is another one.

How it decides: exactly, from the shape that the layer is given in the first step.

Keras alone: PyTorch refuses such a batch ("Expected more than 1 value per channel").

What to do: batches of 16 or more; where there is one sample at a time, LayerNormalization, which normalises
over the features of each.

References: Ioffe & Szegedy 2015 (1502.03167); Ba, Kiros & Hinton 2016 (1607.06450).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend
from evengrad.values.wording import count, layers

CODE = "EG955"
FACT = "normalised_alone"
_FIT = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(48, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential([
    keras.Input((8,)),
    keras.layers.Dense({units}),
    keras.layers.{layer},
    keras.layers.Activation("relu"),
    keras.layers.Dense(2, activation="softmax"),
])
model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
model.fit(x, y, batch_size={batch}, epochs=2, verbose=0)
"""


def _fit(layer: str, batch: int, verb: str = "run", units: int = 16) -> Program:
    text = _FIT.format(layer=layer, batch=batch, units=units)
    return Program("keras", text, "check" if verb == "check" else "run")


_TAPE = """
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(48, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential([
    keras.Input((8,)), keras.layers.Dense(16), keras.layers.BatchNormalization(), keras.layers.Dense(2)
])
optimizer = keras.optimizers.Adam(1e-2)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
for i in range(0, 48, {batch}):
    with tf.GradientTape() as tape:
        loss = loss_fn(y[i : i + {batch}], model(x[i : i + {batch}], training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
"""


def _tape(batch: int) -> Program:
    return Program("keras", _TAPE.format(batch=batch), "run", ("tensorflow",))


SICK = (
    _fit("BatchNormalization()", 1),
    _fit("BatchNormalization()", 1, verb="check"),
    _fit("LayerNormalization()", 16, "check", 1),
    _tape(1),
)
HEALTHY = (
    _fit("BatchNormalization()", 16),
    _fit("LayerNormalization()", 16),
    _tape(8),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """One finding an optimizer."""
    for fact in facts:
        names, kind = fact.values["layers"], fact.values["kind"]
        batch = kind == "BatchNormalization"
        over = msg("a batch of one sample") if batch else msg("an axis of length 1")
        yield Finding(
            CODE,
            msg(
                "{number} over {over}: what is left of every value is 0",
                number=count(len(names), kind),
                over=over,
            ),
            Cause.NORMALISATION,
            Severity.ERROR,
            layers=tuple(names),
            evidence=(
                *([str(fact.where)] if fact.where else []),
                msg(
                    "{names}: a value less its own mean is 0; the output is beta for every sample, and no "
                    "gradient comes through",
                    names=layers(names),
                ),
            ),
            advice=_advice(batch),
            unhealthy=True,
            where=fact.where,
            mistake=True,
        )


def _advice(batch: bool) -> tuple[str, ...]:
    if batch:
        return (
            msg("train on larger batches: batch_size=16 or more"),
            msg("or put LayerNormalization() in its place, which needs no batch"),
        )
    return (msg("normalise over the features: LayerNormalization(axis=-1) of more than one"),)
