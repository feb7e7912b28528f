"""EG939 raw scores for probabilities: a loss written for probabilities is given the network's raw output.

What it finds: a Dice, IoU or Tversky loss of outputs that no sigmoid or softmax has made probabilities of; a
cross-entropy written by hand, or a loss, whose clamp or clip to [0, 1] cuts off raw scores.

Why it matters: an overlap is a share as long as nothing is negative. Of raw scores, the sums in its denominator
pass through zero: the loss leaves [0, 1], falls below 0 or explodes, and says nothing of the overlap. What a
clamp cuts off has no gradient: a score that lies beyond 0 and 1 is never moved again, however wrong.

How it decides: in the first steps. An overlap: the sum of outputs times a mask of 0 and 1, divided by what has
the sum of the same outputs in it, where outputs are below 0; in Keras a compiled loss of the user's own that
depends on the outputs by their sums within the mask alone, and not linearly, or in a graph of TensorFlow by its
operations. A clamp: a tenth of the values, or more (a choice), lie where the loss stays exactly as it is
wherever they are moved. Squares in the denominator make any scores a share, and are not meant.

What to do: sigmoid or softmax before the loss, or the loss that reads raw scores (from logits).

References: Milletari et al. 2016 (1606.04797); Salehi et al. 2017 (1706.05721).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend
from evengrad.values.wording import percent

CODE = "EG939"
FACT = "scores_raw"
_LOOP = """
import torch
import torch.nn.functional as F
torch.manual_seed(0)
x = torch.randn(16, 1, 8, 8)
y = (F.avg_pool2d(x, 3, 1, 1) > 0).float()
net = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 1, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

def dice(p, t, smooth=1.0):
    p, t = p.view(-1), t.view(-1)
    inter = (p * t).sum()
    return 1 - (2 * inter + smooth) / (p.sum() + t.sum() + smooth)

def iou(p, t):
    inter = torch.sum(p * t, dim=(1, 2, 3))
    union = torch.sum(p + t, dim=(1, 2, 3)) - inter
    return 1 - ((inter + 1e-6) / (union + 1e-6)).mean()

def bce(p, t, eps=1e-6):
    p = p.clamp(eps, 1 - eps)
    return -(t * torch.log(p) + (1 - t) * torch.log(1 - p)).mean()

def squares(p, t):
    return 1 - 2 * (p * t).sum() / (p.pow(2).sum() + t.sum())

def masked(p, t):
    return (p.pow(2) * t).sum() / (t.sum() + 1)

for step in range(12):
    out = net(x)
    loss = {loss}
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
_FIT = """
import keras
import numpy as np
from keras import layers, ops
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8, 8, 1)).astype("float32")
y = (x > 0).astype("float32")

def dice(y_true, y_pred):
    inter = ops.sum(y_true * y_pred, axis=(1, 2, 3))
    total = ops.sum(y_true, axis=(1, 2, 3)) + ops.sum(y_pred, axis=(1, 2, 3))
    return 1 - (2 * inter + 1) / (total + 1)

def squashed(y_true, y_pred):
    return dice(y_true, ops.sigmoid(y_pred))

def clipped(y_true, y_pred):
    p = ops.clip(y_pred, 1e-6, 1 - 1e-6)
    return -ops.mean(y_true * ops.log(p) + (1 - y_true) * ops.log(1 - p), axis=-1)

def critic(y_true, y_pred):
    return -ops.mean(y_true * y_pred, axis=-1)

def hinge(y_true, y_pred):
    return ops.mean(ops.maximum(0.0, 1 - (2 * y_true - 1) * y_pred), axis=-1)

inputs = keras.Input((8, 8, 1))
hidden = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
model = keras.Model(inputs, layers.Conv2D(1, 3, padding="same"{head})(hidden))
model.compile(keras.optimizers.Adam(1e-3), loss={loss})
model.fit(x, y, batch_size=16, epochs=3, verbose=0)
"""
_TAPE = """
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8, 8, 1)).astype("float32")
y = (x > 0).astype("float32")
model = keras.Sequential([
    keras.Input((8, 8, 1)), keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
    keras.layers.Conv2D(1, 3, padding="same"{head}),
])
optimizer = keras.optimizers.Adam(1e-3)

@tf.function
def step(images, masks):
    with tf.GradientTape() as tape:
        out = model(images, training=True)
        inter = tf.reduce_sum(out * masks)
        loss = 1 - (2 * inter + 1) / (tf.reduce_sum(out) + tf.reduce_sum(masks) + 1)
    found = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(found, model.trainable_variables))

for i in range(12):
    step(x[:16], y[:16])
"""
_SIGMOID = ", activation='sigmoid'"


def _loop(loss: str) -> tuple[Program, ...]:
    source = _LOOP.format(loss=loss)
    return Program("torch", source), Program("torch", source, "check")


def _fit(loss: str, head: str = "", verb: str = "run") -> Program:
    return Program(
        "keras", _FIT.format(loss=loss, head=head), "check" if verb == "check" else "run"
    )


def _tape(head: str = "") -> Program:
    return Program("keras", _TAPE.format(head=head), "run", ("tensorflow",))


SICK = (
    *_loop("dice(out, y)"),
    *_loop("iou(out, y)"),
    *_loop("bce(out, y)"),
    _fit("dice"),
    _fit("dice", verb="check"),
    _fit("keras.losses.Dice()", verb="check"),
    _fit("clipped", verb="check"),
    _tape(),
)
HEALTHY = (
    *_loop("dice(out.sigmoid(), y)"),
    *_loop("iou(out.sigmoid(), y)"),
    *_loop("bce(out.sigmoid(), y)"),
    *_loop("squares(out, y)"),
    *_loop("masked(out - y, y)"),
    _fit("dice", _SIGMOID),
    _fit("squashed", verb="check"),
    _fit("keras.losses.Dice()", _SIGMOID, "check"),
    _fit("clipped", _SIGMOID, "check"),
    _fit("critic", verb="check"),
    _fit("hinge", verb="check"),
    _tape(_SIGMOID),
)

_ADVICE = {
    "torch": msg(
        "apply the sigmoid (or softmax) first: the loss of torch.sigmoid(output), or of output.softmax(1)"
    ),
    "keras": msg(
        'end in activation="sigmoid" (or "softmax"), or apply keras.ops.sigmoid to the output in the loss'
    ),
}
_LOGITS = {
    "torch": msg("or use F.binary_cross_entropy_with_logits or F.cross_entropy, which read logits"),
    "keras": msg("or use a cross-entropy with from_logits=True"),
}


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire once."""
    for fact in facts[:1]:
        overlap = fact.values["how"] == "overlap"
        title = (
            msg("the overlap loss (Dice, IoU) is given raw scores, not probabilities")
            if overlap
            else msg("the loss clips raw scores, logits, to where probabilities lie")
        )
        yield Finding(
            CODE,
            title,
            Cause.LOSS_HEAD,
            Severity.ERROR,
            evidence=tuple(_evidence(fact)),
            advice=(_ADVICE[frontend], *([] if overlap else [_LOGITS[frontend]])),
            unhealthy=True,
            where=fact.where,
            mistake=True,
        )


def _evidence(fact: Fact) -> Iterable[str]:
    values = fact.values
    if fact.where:
        yield str(fact.where)
    if values["low"] != values["high"]:
        yield msg(
            "outputs from {low:.3g} to {high:.3g}: no sigmoid or softmax has made probabilities of them",
            low=values["low"],
            high=values["high"],
        )
    else:
        yield msg(
            "the network ends in a linear layer: no sigmoid or softmax makes probabilities of it"
        )
    if values["how"] == "overlap":
        yield msg(
            "the sum of raw scores in the denominator can be 0 or negative: the loss has no floor, "
            "and is no overlap"
        )
    else:
        yield msg(
            "{share} of them lie where it is clipped: their gradient is 0",
            share=percent(values["share"]),
        )
