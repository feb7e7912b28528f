"""EG933 summed loss: the gradient is that of the mean times the number of elements, and the rate is a mean's.

What it finds: a loss that is the sum of its elements, by reduction="sum" or .sum(), where the first update or
the run shows that the steps are too large.

Why it matters: the gradient of a sum over N elements is N times that of their mean, and so is each step of an
optimizer such as SGD: a rate that is right for the mean is N times too large. It changes with the batch size.

Under TensorFlow also a tape that is asked for the gradient of one loss for each sample: it sums them up.

How it decides: from the calls that lead to the loss, its divisions by numbers counted. It fires only where the
training suffers: the first update is too large, the rate is beyond the largest stable one, the loss diverges,
or a step overwrites its weights or is not finite. Optimizers that take the gradient's scale out, such as Adam,
do not suffer from it.

What to do: take the mean, or divide the loss by the number of samples, or the rate by it.

References: torch.nn.MSELoss, its argument reduction; Goyal et al. 2017 (1706.02677), section 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG933"
FACT = "loss_summed"
TAPE = "tape.gradient()"
"""What sums the losses of a batch where the user has not."""

_TORCH = """\
import torch
import torch.nn.functional as F
torch.manual_seed(0)
x = torch.randn(256, 8)
y = x @ torch.randn(8, 1)
model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
optimizer = torch.optim.{optimizer}
for step in range(30):
    optimizer.zero_grad()
    loss = {loss}
    loss.backward()
    optimizer.step()
"""


def _torch(loss: str, optimizer: str = "SGD(model.parameters(), lr=0.02)") -> tuple[Program, ...]:
    source = _TORCH.format(loss=loss, optimizer=optimizer)
    return Program("torch", source), Program("torch", source, "check")


_KERAS = """\
import keras
import numpy as np
from keras import ops
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(256, 8)).astype("float32")
y = (x @ rng.normal(size=(8, 1))).astype("float32")

def own(target, output):
    return ops.sum(ops.square(target - output))

model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(1)])
model.compile(keras.optimizers.{optimizer}, {loss})
model.fit(x, y, batch_size=256, epochs=12, verbose=0)
"""


def _keras(loss: str, optimizer: str = "SGD(0.02)") -> tuple[Program, ...]:
    source = _KERAS.format(loss=loss, optimizer=optimizer)
    return Program("keras", source), Program("keras", source, "check")


_TAPE = """\
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(256, 8)).astype("float32")
y = (x @ rng.normal(size=(8, 1))).astype("float32")
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(1)])
optimizer = keras.optimizers.{optimizer}
for step in range(12):
    with tf.GradientTape() as tape:
        loss = {loss}
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
"""


def _tape(loss: str, optimizer: str = "SGD(0.02)") -> Program:
    text = _TAPE.format(loss=loss, optimizer=optimizer)
    return Program("keras", text, "run", ("tensorflow",))


SICK = (
    _tape("tf.reduce_sum(keras.losses.mean_squared_error(y, model(x, training=True)))"),
    _tape("keras.losses.mean_squared_error(y, model(x, training=True))"),
    *_keras('keras.losses.MeanSquaredError(reduction="sum")'),
    *_keras("own"),
    *_torch('F.mse_loss(model(x), y, reduction="sum")'),
    *_torch("((model(x) - y) ** 2).sum()"),
)
HEALTHY = (
    _tape("tf.reduce_sum(keras.losses.mean_squared_error(y, model(x, training=True))) / 256"),
    _tape("tf.reduce_mean(keras.losses.mean_squared_error(y, model(x, training=True)))"),
    _tape("keras.losses.mean_squared_error(y, model(x, training=True))", "Adam(3e-3)"),
    _tape("keras.losses.mean_squared_error(y, model(x, training=True))", "SGD(1e-4)"),
    *_keras('"mse"'),
    *_keras("lambda target, output: own(target, output) / 256"),
    *_keras("own", "Adam(3e-3)"),
    *_torch('F.mse_loss(model(x), y, reduction="sum") / len(x)'),
    *_torch("((model(x) - y) ** 2).sum()", "SGD(model.parameters(), lr=1e-4)"),
    *_torch("((model(x) - y) ** 2).sum()", "Adam(model.parameters(), lr=3e-3)"),
)

_SUFFERING = {
    Symptom.FIRST_UPDATE_TOO_LARGE,
    Symptom.RATE_TOO_LARGE,
    Symptom.DIVERGING,
    Symptom.OVERWRITING,
    Symptom.NOT_FINITE,
    Symptom.NOT_FINITE_AT_START,
    Symptom.SPIKES,
}


def beside(measured: Sequence[Finding]) -> bool:
    """Whether the steps are too large."""
    return any(finding.symptom in _SUFFERING for finding in measured)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """The largest factor."""
    fact = max(facts, key=lambda one: float(one.values["factor"]))
    factor, elements = float(fact.values["factor"]), int(fact.values["elements"])
    mean = (
        "reduction='sum_over_batch_size'"
        if frontend == "keras"
        else 'reduction="mean" (or .mean())'
    )
    if fact.values["function"] == TAPE:
        mean = msg("tf.reduce_mean(loss) before tape.gradient()")
    yield Finding(
        CODE,
        msg(
            "the loss is a sum over {elements} elements: the gradient is {factor:.4g} times the mean's",
            elements=elements,
            factor=factor,
        ),
        Cause.LEARNING_RATE,
        Severity.ERROR,
        evidence=(
            *([str(fact.where)] if fact.where else []),
            msg(
                "{function} sums: it bears a rate {factor:.4g} times smaller than the mean does",
                function=fact.values["function"],
                factor=factor,
            ),
        ),
        advice=(
            msg("use {mean}, or divide the loss by the number of samples", mean=mean),
            msg("or divide the rate by it"),
        ),
        where=fact.where,
        mistake=True,
    )
