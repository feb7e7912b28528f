"""EG915 half of a loss scale: a GradScaler divides gradients that it never multiplied, or the other way round.

What it finds: `scaler.step(optimizer)` after `backward()` of a loss that did not come out of `scaler.scale`;
and `optimizer.step()`, without the scaler, after `backward()` of one that did.

Why it matters: the scaler divides the gradients by its scale, 65,536 at first. Gradients that were not scaled
are next to nothing after that: with SGD the training stands still, with Adam the smaller ones fall below its
epsilon. In half precision they underflow, which is what the scale is there against. The other way round plain
gradient descent takes steps that are 65,536 times too long.

How it decides: exactly, in the first steps: no loss that reached the optimizer's weights since its last step
was scaled; or they are still scaled when the optimizer is stepped, which counts for SGD alone, as the others
divide by the gradient's size.

What to do: `scaler.scale(loss).backward()`, `scaler.step(optimizer)`, `scaler.update()`: all three.

References: PyTorch documentation, automatic mixed precision examples: typical mixed precision training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG915"
FACT = "loss_unscaled"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 8)
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu")
for step in range(12):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    {backward}
    {step}
"""
_STEP = "scaler.step(optimizer); scaler.update()"


def _loop(backward: str, verb: str = "run", step: str = _STEP) -> Program:
    source = _LOOP.format(backward=backward, step=step)
    return Program("torch", source, "check" if verb == "check" else "run")


_MIXED = """\
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(2)])
optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

@tf.function
def train_step(images, labels):
    with tf.GradientTape() as tape:
        loss = loss_fn(labels, model(images, training=True))
        loss = {scaled}
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))

for step in range(12):
    train_step(x, y)
"""


def _mixed(scaled: str) -> Program:
    return Program("keras", _MIXED.format(scaled=scaled), "run", ("tensorflow",))


SICK = (
    _mixed("loss"),
    _loop("scaler.scale(loss); loss.backward()"),
    _loop("scaler.scale(loss); loss.backward()", "check"),
    _loop("scaler.scale(loss).backward()", step="optimizer.step()"),
    _loop("scaler.scale(loss).backward()", "check", "optimizer.step()"),
)
HEALTHY = (
    _mixed("optimizer.scale_loss(loss)"),
    _loop("scaler.scale(loss).backward()"),
    _loop("scaler.scale(loss).backward()", "check"),
    _loop("scaled = scaler.scale(loss) / 2; scaled.backward()"),
    _loop(
        "scaler.scale(loss).backward(); scaler.unscale_(optimizer)",
        step="optimizer.step(); scaler.update()",
    ),
    _loop("for part in (loss, 0.1 * loss): scaler.scale(part).backward(retain_graph=True)"),
)


_KERAS = msg(
    "differentiate scaled = optimizer.scale_loss(loss), computed inside the tape, instead of loss; the "
    "optimizer divides the gradients by the scale itself"
)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire on each optimizer that it was seen of."""
    for fact in facts:
        title, evidence, advice = _kept(fact) if fact.values.get("kept") else _never(fact, frontend)
        yield Finding(
            CODE,
            title,
            Cause.PRECISION,
            Severity.ERROR,
            evidence=evidence,
            advice=(advice,),
            where=fact.where,
            mistake=True,
        )


def _kept(fact: Fact) -> tuple[str, tuple[str, ...], str]:
    """The scale is still in the gradients."""
    optimizer, scaler = fact.values["optimizer"], fact.values["scaler"]
    scale = f"{fact.values['scale']:g}"
    evidence = (
        msg(
            "{where} takes what {scaler}.scale(loss) made as it is",
            where=fact.where or optimizer + ".step()",
            scaler=scaler,
        ),
        msg(
            "no {scaler}.unscale_({optimizer}), which {scaler}.step calls, came before it",
            scaler=scaler,
            optimizer=optimizer,
        ),
    )
    advice = msg(
        "call {scaler}.step({optimizer}), then {scaler}.update(), instead of {optimizer}.step()",
        scaler=scaler,
        optimizer=optimizer,
    )
    return (
        msg(
            "{optimizer}.step() takes gradients that are still scaled by {scale}",
            optimizer=optimizer,
            scale=scale,
        ),
        evidence,
        advice,
    )


def _never(fact: Fact, frontend: Frontend) -> tuple[str, tuple[str, ...], str]:
    """It was never in them."""
    values = fact.values
    optimizer, scaler = values["optimizer"], values["scaler"]
    torch = frontend == "torch"
    divides = f"{scaler}.step" if torch else scaler
    verb = msg("is called on") if torch else "differentiates"
    evidence = (
        msg("{where} {verb} the loss itself", where=fact.where or "backward()", verb=verb),
        msg(
            "{step} divides what it made for {optimizer}",
            step=values["step"] or scaler + ".step",
            optimizer=optimizer,
        ),
    )
    title = msg(
        "{divides} divides the gradients by {scale:g}, and the loss was never scaled",
        divides=divides,
        scale=values["scale"],
    )
    return (
        title,
        evidence,
        msg("{scaler}.scale(loss).backward() instead of loss.backward()", scaler=scaler)
        if torch
        else _KERAS,
    )
