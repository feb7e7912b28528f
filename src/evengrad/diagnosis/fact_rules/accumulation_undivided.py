"""EG914 accumulation not divided: the losses of several backward passes to one step are summed.

What it finds: a script that calls `backward()` several times for each `optimizer.step()`, with a mean loss that
was not divided by the number of passes, and whose training suffers from it.

Why it matters: the gradient is as many times too large. With SGD that is a learning rate as many times too
large; and a clip binds as many times sooner. Optimizers that divide by the gradient's own size, as Adam, hardly
notice.

How it decides: in the first steps every backward pass of one line is counted, and the last operation of its
loss is looked at: a division or a product counts as divided. A check tells of it where the rate is above the
largest stable one for the sum, and below it for the mean; a run where its loss ends at nine tenths of where it
began or above (a measured choice), is not finite, or was stopped by the guard. Only under SGD.

Keras: on PyTorch the same; in a loop on TensorFlow that runs eagerly where what the optimizer is given is the
sum of what the tapes gave, of losses that are what their function gave. By a run alone. Not in compiled steps
and not on JAX, where nobody sees from outside what is summed up.

What to do: `(loss / steps).backward()`, or divide the learning rate.

References: Goyal et al. 2017 (1706.02677), 2.3; PyTorch documentation, automatic mixed precision examples:
gradient accumulation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG914"
FACT = "accumulation_undivided"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(512, 8)
y = x[:, :1] - 2 * x[:, 1:2]
model = nn.Linear(8, 1)
optimizer = torch.optim.{optimizer}
for step in range(40):
    optimizer.zero_grad()
    for part in range(16):
        pick = torch.randint(0, 512, (16,))
        loss = nn.functional.mse_loss(model(x[pick]), y[pick])
        {backward}
    {clip}
    optimizer.step()
"""


def _loop(optimizer: str, backward: str, clip: str = "pass", verb: str = "run") -> Program:
    source = _LOOP.format(optimizer=optimizer, backward=backward, clip=clip)
    return Program("torch", source, "check" if verb == "check" else "run")


_TAPE = """
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(512, 8)).astype("float32")
y = x[:, :1] - 2 * x[:, 1:2]
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
optimizer = keras.optimizers.{optimizer}
loss_fn = keras.losses.MeanSquaredError()
for step in range(15):
    total = [tf.zeros_like(v) for v in model.trainable_variables]
    for part in range(8):
        pick = rng.integers(0, 512, 16)
        with tf.GradientTape() as tape:
            loss = {loss}
        gradients = tape.gradient(loss, model.trainable_variables)
        total = [t + g for t, g in zip(total, gradients)]
    optimizer.apply_gradients(zip({given}, model.trainable_variables))
"""
_ON_TORCH = """
import keras
import numpy as np
import torch
keras.utils.set_random_seed(0)
x = torch.as_tensor(np.random.default_rng(0).normal(size=(512, 8)).astype("float32"))
y = x[:, :1] - 2 * x[:, 1:2]
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD(0.2)
loss_fn = keras.losses.MeanSquaredError()
for step in range(15):
    model.zero_grad()
    for part in range(8):
        pick = torch.randint(0, 512, (16,))
        loss = loss_fn(y[pick], model(x[pick], training=True))
        {backward}
    with torch.no_grad():
        optimizer.apply([v.value.grad for v in model.trainable_weights], model.trainable_weights)
"""
_MEAN = "loss_fn(y[pick], model(x[pick], training=True))"


def _tape(loss: str = _MEAN, given: str = "total", optimizer: str = "SGD(0.2)") -> Program:
    source = _TAPE.format(loss=loss, given=given, optimizer=optimizer)
    return Program("keras", source, "run", ("tensorflow",))


def _on_torch(backward: str) -> Program:
    return Program("keras", _ON_TORCH.format(backward=backward), "run", ("torch",))


_SUMS = """
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(512, 8)).astype("float32")
y = x[:, :1] - 2 * x[:, 1:2]
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD(0.2)
loss_fn = keras.losses.MeanSquaredError()
sums = [tf.Variable(tf.zeros_like(v), trainable=False) for v in model.trainable_variables]
count = tf.Variable(0, trainable=False)

def move():
    optimizer.apply_gradients(zip(sums, model.trainable_variables))
    count.assign(0)
    for one in sums:
        one.assign(tf.zeros_like(one))

@tf.function
def train_step(x, y):
    count.assign_add(1)
    with tf.GradientTape() as tape:
        loss = loss_fn(y, model(x, training=True))
    for one, g in zip(sums, tape.gradient(loss, model.trainable_variables)):
        one.assign_add({added})
    tf.cond(tf.equal(count, 8), move, lambda: None)

for part in range(120):
    pick = rng.integers(0, 512, 16)
    train_step(x[pick], y[pick])
"""


def _sums(added: str) -> Program:
    return Program("keras", _SUMS.format(added=added), "run", ("tensorflow",))


SICK = (
    _sums("g"),
    _tape(),
    _on_torch("loss.backward()"),
    _loop("SGD(model.parameters(), lr=0.1)", "loss.backward()"),
    _loop("SGD(model.parameters(), lr=0.1)", "loss.backward()", verb="check"),
)
HEALTHY = (
    _sums("g / 8"),
    _tape(f"{_MEAN} / 8"),
    _tape(given="[t / 8 for t in total]"),
    _tape(optimizer="SGD(0.2 / 8)"),
    _tape(optimizer="Adam(0.1)"),
    _on_torch("(loss / 8).backward()"),
    _loop("SGD(model.parameters(), lr=0.1)", "(loss / 16).backward()"),
    _loop("SGD(model.parameters(), lr=0.1)", "(loss / 16).backward()", verb="check"),
    _loop("SGD(model.parameters(), lr=0.1 / 16)", "loss.backward()"),
    _loop("SGD(model.parameters(), lr=0.1 / 16)", "loss.backward()", verb="check"),
    _loop("Adam(model.parameters(), lr=0.1)", "loss.backward()"),
)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire on each optimizer that it was seen of."""
    for fact in facts:
        values = fact.values
        count, rate, optimizer = values["count"], values["rate"], values["optimizer"]
        critical = values.get("critical")
        step, passes = f"{optimizer}.step()", "backward()"
        cure = msg(
            "(loss / {count}).backward(): divide each loss by the number of accumulation steps",
            count=count,
        )
        if frontend == "keras":
            step, passes = f"{optimizer}.apply()", msg("the tape")
            cure = msg(
                "loss / {count}: divide each loss, or the sum of the gradients, by the number of accumulation "
                "steps; or leave it to Keras: {optimizer}(..., gradient_accumulation_steps={count})",
                count=count,
                optimizer=optimizer,
            )
        stable = [
            msg(
                "the largest stable rate for this sum is about {critical:.3g}",
                critical=critical or 0,
            )
        ]
        yield Finding(
            CODE,
            msg(
                "the losses of {count} backward passes to a step are not divided by {count}: the gradient is "
                "{count} times too large",
                count=count,
            ),
            Cause.LEARNING_RATE,
            Severity.ERROR,
            evidence=(
                msg(
                    "{where} is called {count} times for each {step}",
                    where=fact.where or passes,
                    count=count,
                    step=step,
                ),
                msg(
                    "with a rate of {rate:g} that is one of {rate2:g} for the mean of the {count}",
                    rate=rate,
                    rate2=rate * count,
                    count=count,
                ),
                *(stable if critical else ()),
            ),
            advice=(
                cure,
                msg("or divide the learning rate by it: {rate:.3g}", rate=rate / count),
            ),
            where=fact.where,
            mistake=True,
        )
