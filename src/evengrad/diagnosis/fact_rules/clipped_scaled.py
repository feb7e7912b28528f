"""EG911 clip of scaled gradients: they are clipped before the loss scale is taken off them.

What it finds: `clip_grad_norm_` or `clip_grad_value_` called on gradients that still carry a GradScaler's
factor; under Keras `tf.clip_by_...` or `ops.clip` of the gradients of what `optimizer.scale_loss` gave.

Why it matters: the bound is meant for the true gradients. Those at hand are thousands of times larger, so the
clip always binds, and when the scale is taken off afterwards next to nothing is left: at a scale of 65,536 a
bound of 1 leaves a gradient of norm 0.000015. With SGD the training stands still. As the scale changes, so does
the true bound.

How it decides: exactly: the loss that made these gradients came out of `scaler.scale`, and no one has divided
them since. A bound that was multiplied by the scale is none.

What to do: call `scaler.unscale_(optimizer)` before the clip; let Keras' optimizer clip, which does it behind
the division: `LossScaleOptimizer(SGD(0.1, global_clipnorm=1.0))`.

References: PyTorch documentation, automatic mixed precision examples: gradient clipping; keras-team/keras,
LossScaleOptimizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG911"
FACT = "clipped_scaled"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 8)
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", enabled={enabled})
for step in range(12):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nn.functional.cross_entropy(model(x), y)
    scaler.scale(loss).backward()
    {clip}
    scaler.step(optimizer)
    scaler.update()
"""
_NORM = "nn.utils.clip_grad_norm_(model.parameters(), {bound})"


def _loop(clip: str, verb: str = "run", enabled: bool = True) -> Program:
    return Program(
        "torch", _LOOP.format(clip=clip, enabled=enabled), "check" if verb == "check" else "run"
    )


_KERAS = """
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(2)])
optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1{own}))
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

@tf.function
def train_step(images, labels):
    with tf.GradientTape() as tape:
        loss = optimizer.scale_loss(loss_fn(labels, model(images, training=True)))
    gradients = tape.gradient(loss, model.trainable_variables)
    {clip}
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))

for step in range(12):
    train_step(x, y)
"""


def _keras(clip: str, own: str = "", verb: str = "run") -> Program:
    source = _KERAS.format(clip=clip, own=own)
    return Program("keras", source, "check" if verb == "check" else "run", ("tensorflow",))


SICK = (
    _keras("gradients, _ = tf.clip_by_global_norm(gradients, 1.0)"),
    _keras("gradients, _ = tf.clip_by_global_norm(gradients, 1.0)", verb="check"),
    _keras("gradients = [keras.ops.clip(g, -0.5, 0.5) for g in gradients]"),
    _loop(_NORM.format(bound="1.0")),
    _loop(_NORM.format(bound="1.0"), "check"),
    _loop("nn.utils.clip_grad_value_(model.parameters(), 0.5)"),
)
HEALTHY = (
    _keras("pass", own=", global_clipnorm=1.0"),
    _keras("gradients, _ = tf.clip_by_global_norm(gradients, 1.0 * 32768)"),
    _keras("pass", own=", global_clipnorm=1.0", verb="check"),
    _loop("scaler.unscale_(optimizer); " + _NORM.format(bound="1.0")),
    _loop("scaler.unscale_(optimizer); " + _NORM.format(bound="1.0"), "check"),
    _loop(_NORM.format(bound="scaler.get_scale()")),
    _loop(_NORM.format(bound="1.0"), enabled=False),
    _loop(
        "[p.grad.div_(scaler.get_scale()) for p in model.parameters()]; "
        + _NORM.format(bound="65536.0")
    ),
)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire on each clip."""
    for fact in facts:
        bound, scale = fact.values["bound"], fact.values["scale"]
        yield Finding(
            CODE,
            msg(
                "the clip at {bound:g} sees gradients that are still scaled by {scale:g}: what it "
                "leaves has norm "
                "{bound2:.2g}",
                bound=bound,
                scale=scale,
                bound2=bound / scale,
            ),
            Cause.PRECISION,
            Severity.ERROR,
            evidence=tuple(_evidence(fact, frontend)),
            advice=tuple(_advice(fact, frontend)),
            where=fact.where,
            mistake=True,
        )


def _evidence(fact: Fact, frontend: Frontend) -> Iterable[str]:
    values = fact.values
    before = f"scaler.unscale_({values['optimizer']})"
    if frontend == "keras":
        before = msg(
            "{scaler} unscales: it divides the gradients in its own apply()",
            scaler=values["scaler"],
        )
    yield msg("{where} comes before {before}", where=fact.where or msg("the clip"), before=before)
    if values["norm"] is not None:
        yield msg(
            "the norm that it clips is {norm:.3g}; without the loss scale it is {unscaled:.3g}",
            norm=values["norm"],
            unscaled=values["unscaled"],
        )


def _advice(fact: Fact, frontend: Frontend) -> Iterable[str]:
    optimizer, bound = fact.values["optimizer"], fact.values["bound"]
    if frontend == "torch":
        yield msg("call scaler.unscale_({optimizer}) before the clip", optimizer=optimizer)
        return
    yield msg(
        "leave the clip to the optimizer, which clips what is unscaled: {optimizer}(..., "
        "global_clipnorm={bound:g}) inside of {scaler}",
        optimizer=optimizer,
        bound=bound,
        scaler=fact.values["scaler"],
    )
