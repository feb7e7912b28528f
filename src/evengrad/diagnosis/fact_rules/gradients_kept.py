"""EG910 gradients kept: they are never set back to zero, or they are set back before they are used.

What it finds: a step that still contains the gradients of the steps before it, or one before which they were
set to zero after the backward pass had made them.

Why it matters: `backward()` adds to what is there. Without `zero_grad()` each step goes along the sum of all
gradients so far, which grows as the training goes on: it overshoots, oscillates and diverges. Set back between
`backward()` and `step()`, there is nothing left to step along, and the weights stay as they are.

How it decides: exactly, in the first steps: the gradients that the next backward pass finds are those that the
step before has used, unchanged, and no one has emptied them by the next step. Several backward passes to one
step are no mistake.

Keras: on PyTorch the same; in a loop on TensorFlow that runs eagerly an optimizer that is given, step after
step, what it was given before and what the tapes gave since (compared as figures, up to rounding). Not in
compiled steps, and not on JAX, where the sums are values that nobody sees from outside.

What to do: call `optimizer.zero_grad()` once for each step, before `loss.backward()`.

References: PyTorch documentation, torch.optim: taking an optimization step; pytorch#47175.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Frontend
from evengrad.values.wording import count

CODE = "EG910"
FACT = "gradients_kept"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 8)
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
other = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
for step in range(12):
    {first}
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    {second}
    optimizer.step()
    {third}
"""


def _loop(first: str = "pass", second: str = "pass", third: str = "pass") -> Program:
    return Program("torch", _LOOP.format(first=first, second=second, third=third))


_TAPE = """
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = x[:, :1] - 2 * x[:, 1:2]
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD({rate})
loss_fn = keras.losses.MeanSquaredError()
total = [tf.zeros_like(v) for v in model.trainable_variables]
for step in range(12):
    {first}
    with tf.GradientTape() as tape:
        loss = loss_fn(y, model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    total = [{sum} for t, g in zip(total, gradients)]
    optimizer.apply_gradients(zip(total, model.trainable_variables))
"""
_KERAS = """
import keras
import numpy as np
import torch
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int64")
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Own(keras.Model):
    def train_step(self, data):
        x, y = data
        {first}
        loss = loss_fn(y, self(x, training=True))
        loss.backward()
        weights = list(self.trainable_weights)
        with torch.no_grad():
            self.optimizer.apply([w.value.grad for w in weights], weights)
        return {{"loss": loss}}


inputs = keras.Input((8,))
hidden = keras.layers.Dense(16, activation="relu")(inputs)
model = Own(inputs, keras.layers.Dense(2)(hidden))
model.compile(keras.optimizers.SGD(0.1))
model.fit(x, y, batch_size=16, epochs=4, verbose=0)
"""


def _keras(first: str = "pass") -> Program:
    return Program("keras", _KERAS.format(first=first), "run", ("torch",))


def _tape(first: str = "pass", total: str = "t + g", rate: float = 0.1) -> Program:
    source = _TAPE.format(first=first, sum=total, rate=rate)
    return Program("keras", source, "run", ("tensorflow",))


_SUMS = """
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = x[:, :1] - 2 * x[:, 1:2]
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD(0.01)
loss_fn = keras.losses.MeanSquaredError()
sums = [tf.Variable(tf.zeros_like(v), trainable=False) for v in model.trainable_variables]

@tf.function
def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = loss_fn(y, model(x, training=True))
    for one, g in zip(sums, tape.gradient(loss, model.trainable_variables)):
        one.assign_add(g)
    optimizer.apply_gradients(zip(sums, model.trainable_variables))
    {empty}

for step in range(12):
    train_step(x, y)
"""


def _sums(empty: str) -> Program:
    return Program("keras", _SUMS.format(empty=empty), "run", ("tensorflow",))


SICK = (
    _sums("pass"),
    _tape(),
    _keras(),
    _loop(),
    _loop("other.zero_grad()"),
    _loop("model.zero_grad() if step % 8 == 7 else None"),
    _loop(second="optimizer.zero_grad()"),
    _loop(second="model.zero_grad(set_to_none=False)"),
)
HEALTHY = (
    _sums("for one in sums: one.assign(tf.zeros_like(one))"),
    _tape("total = [tf.zeros_like(v) for v in model.trainable_variables]"),
    _tape(total="0.9 * t + g", rate=0.01),
    _keras("self.zero_grad()"),
    _loop("optimizer.zero_grad()"),
    _loop("model.zero_grad(set_to_none=False)"),
    _loop(third="optimizer.zero_grad()"),
    _loop("[p.grad.data.zero_() for p in model.parameters() if p.grad is not None]"),
    _loop("optimizer.zero_grad(); (0.5 * nn.functional.cross_entropy(model(x), y)).backward()"),
)


_VARIABLES = msg(
    "set the sums back to zero behind each apply_gradients(): sum.assign(tf.zeros_like(sum))"
)
_TAPES = msg("where the script sums a tape's gradients up: begin with zeros again behind each step")


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire on each optimizer that it was seen of."""
    for fact in facts:
        yield _emptied(fact) if fact.values["how"] == "zeroed" else _kept(fact, frontend)


def _kept(fact: Fact, frontend: Frontend) -> Finding:
    optimizer = fact.values["optimizer"]
    call = f"{optimizer}.zero_grad()"
    if frontend == "keras":
        call = msg("zero_grad() of the model (self.zero_grad() in its train_step)")
    steps = count(fact.values["steps"], "step")
    return Finding(
        CODE,
        msg(
            "the gradients are never set back to zero: {optimizer} steps along the sum of all so far",
            optimizer=optimizer,
        ),
        Cause.LEARNING_RATE,
        Severity.ERROR,
        symptom=Symptom.DIVERGING,
        evidence=(
            msg(
                "{where} adds to gradients that {optimizer} has already stepped along",
                where=fact.where or "backward()",
                optimizer=optimizer,
            ),
            msg(
                "in {steps} of {steps}, nobody emptied them between a step and the next gradients",
                steps=steps,
            ),
        ),
        advice=(_VARIABLES,)
        if fact.values.get("variables")
        else (
            msg("call {call} before loss.backward(), once for each step", call=call),
            *([_TAPES] if frontend == "keras" else []),
        ),
        unhealthy=True,
        where=fact.where,
        mistake=True,
    )


def _emptied(fact: Fact) -> Finding:
    optimizer = fact.values["optimizer"]
    made = fact.values["backward"]
    return Finding(
        CODE,
        msg(
            "the gradients are set to zero before {optimizer} steps: nothing is learnt",
            optimizer=optimizer,
        ),
        Cause.LEARNING_RATE,
        Severity.ERROR,
        evidence=(
            msg("{where} empties the gradients", where=fact.where or "zero_grad()"),
            msg(
                "they were made at {made}, and {optimizer}.step() comes after both",
                made=made or "backward()",
                optimizer=optimizer,
            ),
        ),
        advice=(
            msg(
                "move {optimizer}.zero_grad() before loss.backward(), or behind {optimizer}.step()",
                optimizer=optimizer,
            ),
        ),
        unhealthy=True,
        where=fact.where,
        mistake=True,
    )
