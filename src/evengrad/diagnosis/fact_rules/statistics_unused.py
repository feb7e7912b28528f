"""EG950 batch statistics unused: the normalisation is called for inference while its model is trained, or what
it learns of the data is dropped.

What it finds: BatchNormalization layers that get gradients but are called with training=False, or with nothing
where that is the default: the moving statistics are never updated, and the layer divides by what it was made
with, mean 0 and variance 1. In a loop on JAX also those whose new statistics, which stateless_call returns, are
not handed to the next step.

Why it matters: it then normalises nothing, in training or in evaluation. A deep network that relies on it
begins with vanishing or exploding activations, and does not train, or far worse; one whose statistics are
dropped trains well, and is at chance in evaluation.

How it decides: exactly, in the first steps. From three such layers on it is an error, below a warning (a
choice: what one layer does not normalise the weights around it can make up for). Layers that are frozen
(trainable = False), or whose moving statistics were loaded or learnt before, are called so on purpose.

What to do: model(x, training=True) inside the training step; training=False for evaluation alone. On JAX keep
the non-trainable variables that stateless_call returns, and give them to the next step.

References: tensorflow#31184; tensorflow#32864; keras#20378; keras.layers.BatchNormalization.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend
from evengrad.values.wording import count, layers

CODE = "EG950"
FACT = "statistics_unused"
_MANY = 3
_LOOP = """\
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential([keras.Input((8,))])
for _ in range({depth}):
    model.add(keras.layers.Dense(16, use_bias=False))
    model.add(keras.layers.BatchNormalization())
    model.add(keras.layers.ReLU())
model.add(keras.layers.Dense(2))
optimizer = keras.optimizers.SGD(0.1)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

@tf.function
def train_step(images, labels):
    with tf.GradientTape() as tape:
        loss = loss_fn(labels, model({call}))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss

for step in range(30):
    train_step(x, y)
"""


def _loop(call: str, depth: int = 14) -> Program:
    return Program("keras", _LOOP.format(call=call, depth=depth), "run", ("tensorflow",))


_JAX = """\
import jax
import keras
import numpy as np
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential([
    keras.Input((8,)), keras.layers.Dense(16), keras.layers.BatchNormalization(), keras.layers.ReLU(),
    keras.layers.Dense(2),
])
optimizer = keras.optimizers.SGD(0.1)
optimizer.build(model.trainable_variables)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

def compute_loss(trained, rest, x, y):
    made, rest = model.stateless_call(trained, rest, x, training=True)
    return loss_fn(y, made), rest

@jax.jit
def train_step(trained, rest, state):
    (loss, {kept}), grads = jax.value_and_grad(compute_loss, has_aux=True)(trained, rest, x, y)
    trained, state = optimizer.stateless_apply(state, grads, trained)
    return loss, trained, rest, state

parts = model.trainable_variables, model.non_trainable_variables, optimizer.variables
trained, rest, state = ([v.value for v in part] for part in parts)
for step in range(30):
    loss, trained, rest, state = train_step(trained, rest, state)
"""


def _jax(kept: str) -> Program:
    return Program("keras", _JAX.format(kept=kept), "run", ("jax",))


SICK = (_loop("images"), _loop("images, training=False"), _jax("_"))
HEALTHY = (_loop("images, training=True", 4), _jax("rest"))


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """One finding an optimizer."""
    for fact in facts:
        names = fact.values["layers"]
        many = count(len(names), "BatchNormalization")
        if fact.values["problem"] == "dropped":
            yield _dropped(fact, names, many)
            continue
        yield Finding(
            CODE,
            msg(
                "{many} called without training=True in training: the moving statistics stay at their start",
                many=many,
            ),
            Cause.NORMALISATION,
            Severity.ERROR if len(names) >= _MANY else Severity.WARNING,
            layers=tuple(names),
            evidence=(
                *([str(fact.where)] if fact.where else []),
                msg(
                    "{names}: moving mean 0 and moving variance 1, as made; so nothing is normalised",
                    names=layers(names),
                ),
            ),
            advice=(
                msg(
                    "call model(x, training=True) inside the training step, training=False in evaluation"
                ),
            ),
            where=fact.where,
            mistake=True,
        )


def _dropped(fact: Fact, names: Sequence[str], many: str) -> Finding:
    return Finding(
        CODE,
        msg(
            "the moving statistics of {many} are learnt and dropped: each step begins with those of the start",
            many=many,
        ),
        Cause.NORMALISATION,
        Severity.ERROR,
        layers=tuple(names),
        evidence=(
            *([str(fact.where)] if fact.where else []),
            msg(
                "{names}: moving mean 0 and moving variance 1 at every step, whatever stateless_call "
                "returned; evaluation normalises by these",
                names=layers(names),
            ),
        ),
        advice=(
            msg(
                "keep the non_trainable_variables that model.stateless_call(..., training=True) "
                "returns, and give "
                "them to the next step and to evaluation"
            ),
        ),
        unhealthy=True,
        where=fact.where,
        mistake=True,
    )
