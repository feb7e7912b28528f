"""EG919 clip that leaves nothing: its bound is so far below the gradient's norm that the steps move nothing.

What it finds: `clip_grad_norm_` with a bound below a tenth of the norm, and steps below 1e-5 of the weights;
in Keras an optimizer's `clipnorm`, `clipvalue` or `global_clipnorm`, or a clip of the loop's own. Under Adam
and its kin: a clip that leaves most of a tensor's gradient below the optimizer's epsilon.

Why it matters: every gradient is then scaled down to that bound, whatever it was. With plain gradient descent a
step is the rate times the bound, and the loss seems not to move at all. Adam divides by the gradient's size, so
that a clip usually changes nothing; but a step is g / (sqrt(v) + eps), and where one tensor's gradient is 1e10
times the others', a clip at 1 takes those to 1e-10, below eps: they stand still while the norm looks well.

How it decides: by the script's own clip in the first steps. SGD: with the highest rate that the optimizer was
given, and momentum counted in; the tenth and the 1e-5 are measured choices: usual updates lie between 1e-4 and
1e-1 of the weights. Adam, RMSprop, Adagrad: r / (r + eps) below a half for the rms r of what the clip leaves of
a tensor, and not below it without the clip; where a tenth or more of the clipped elements stand so (measured
choice).

What to do: set the bound at a few times the usual norm, so that only outliers are clipped; or clip each tensor
by itself, so that one cannot stop the others, and find out why its gradient is so large.

References: Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks (1211.5063);
Kingma & Ba 2014 (1412.6980), section 2.1, for Adam's epsilon.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Frontend
from evengrad.values.wording import percent

CODE = "EG919"
FACT = "clipped_away"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 8)
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.{optimizer}
for step in range(12):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    nn.utils.clip_grad_norm_(model.parameters(), {bound})
    optimizer.step()
"""


def _loop(
    bound: float, optimizer: str = "SGD(model.parameters(), lr=0.1)", verb: str = "run"
) -> Program:
    text = _LOOP.format(bound=bound, optimizer=optimizer)
    return Program("torch", text, "check" if verb == "check" else "run")


_KERAS = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(2)])
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.{optimizer}
{loop}
"""
_FIT = """
model.compile(optimizer=optimizer, loss=loss_fn)
model.fit(x, y, batch_size=16, epochs=3, verbose=0)
"""
_TAPE = """
import tensorflow as tf
for step in range(12):
    with tf.GradientTape() as tape:
        loss = loss_fn(y, model(x, training=True))
    gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, model.trainable_variables), {bound})
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
"""


def _fit(optimizer: str, verb: str = "run") -> Program:
    text = _KERAS.format(optimizer=optimizer, loop=_FIT)
    return Program("keras", text, "check" if verb == "check" else "run")


def _tape(bound: float, verb: str = "run") -> Program:
    text = _KERAS.format(optimizer="SGD(0.1)", loop=_TAPE.format(bound=bound))
    return Program("keras", text, "check" if verb == "check" else "run", ("tensorflow",))


_APART = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 8)
y = x.sum(dim=1, keepdim=True)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
scale = nn.Parameter(torch.tensor(1.0))
optimizer = torch.optim.AdamW([*model.parameters(), scale], lr=1e-2)
for step in range(12):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y) + {factor} * (scale - 2.0) ** 2
    loss.backward()
    nn.utils.clip_grad_norm_([*model.parameters(), scale], 1.0)
    optimizer.step()
"""
_APART_KERAS = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
class Wave(keras.layers.Layer):
    def build(self, shape):
        self.phase = self.add_weight(shape=(), initializer="zeros", name="phase")
    def call(self, x):
        return x + keras.ops.sin({factor} * self.phase)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = x.sum(axis=1, keepdims=True)
model = keras.Sequential(
    [keras.Input((8,)), keras.layers.Dense(16, activation="relu"), Wave(), keras.layers.Dense(1)]
)
model.compile(optimizer=keras.optimizers.AdamW(1e-2, global_clipnorm=1.0), loss="mse")
model.fit(x, y, batch_size=16, epochs=3, verbose=0)
"""


def _apart(
    text: str, factor: float, framework: Literal["torch", "keras"] = "torch", verb: str = "run"
) -> Program:
    """One weight whose gradient is that much larger than all others'."""
    return Program(framework, text.format(factor=factor), "check" if verb == "check" else "run")


SICK = (
    _apart(_APART, 1e10),
    _apart(_APART, 1e10, verb="check"),
    _apart(_APART_KERAS, 1e10, "keras"),
    _apart(_APART_KERAS, 1e10, "keras", verb="check"),
    _fit("SGD(0.1, clipnorm=1e-5)"),
    _fit("SGD(0.1, global_clipnorm=1e-5)", verb="check"),
    _fit("SGD(0.1, clipvalue=1e-7)", verb="check"),
    _tape(1e-5),
    _tape(1e-5, verb="check"),
    _loop(1e-5),
    _loop(1e-5, verb="check"),
)
HEALTHY = (
    _apart(_APART, 1.0),
    _apart(_APART, 1.0, verb="check"),
    _apart(_APART_KERAS, 1.0, "keras"),
    _fit("SGD(0.1, clipnorm=0.1)"),
    _fit("SGD(0.1, clipvalue=0.5)", verb="check"),
    _fit("Adam(1e-3, clipnorm=1e-5)"),
    _tape(0.1),
    _loop(0.1),
    _loop(0.1, verb="check"),
    _loop(1e-5, "SGD(model.parameters(), lr=1e4)"),
    _loop(1e-5, "Adam(model.parameters(), lr=1e-3)"),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire on each optimizer that it was seen of."""
    for fact in facts:
        yield _swallowed(fact) if "epsilon" in fact.values else _unmoved(fact)


def _unmoved(fact: Fact) -> Finding:
    values = fact.values
    bound, norm = values["bound"], values["norm"]
    left, name = values.get("left", bound), values.get("argument", "max_norm")
    return _finding(
        fact,
        msg(
            "the clip at {bound:g} leaves {left:.2g} of the gradient: {optimizer} moves nothing",
            bound=bound,
            left=left / norm,
            optimizer=values["optimizer"],
        ),
        (
            msg("the gradient's norm is {norm:.3g} before the clip", norm=norm),
            msg(
                "with a learning rate of {rate:g} a step is {moves:.1g} of the weights "
                "(usual: 1e-4 to 1e-1)",
                rate=values["rate"],
                moves=values["moves"],
            ),
        ),
        (
            msg(
                "raise the clip's bound ({name}) from {bound:g} to about {value:.2g}, or clip not at all",
                name=name,
                bound=bound,
                value=3 * norm,
            ),
        ),
    )


def _swallowed(fact: Fact) -> Finding:
    values = fact.values
    bound, norm = values["bound"], values["norm"]
    return _finding(
        fact,
        msg(
            "the clip at {bound:g} leaves {left:.2g} of the gradient, less than {optimizer}'s epsilon: "
            "{part} of the weights stand still",
            bound=bound,
            left=values["left"] / norm,
            optimizer=values["optimizer"],
            part=percent(values["part"]),
        ),
        (
            msg(
                "the gradient's norm is {norm:.3g} before the clip, most of it in {largest}",
                norm=norm,
                largest=values["largest"],
            ),
            msg(
                "what is left of {name}: rms {rms:.2g}, epsilon {epsilon:g}: its steps are {share:.1g} of "
                "what they should be",
                name=values["name"],
                rms=values["rms"],
                epsilon=values["epsilon"],
                share=values["share"],
            ),
            msg(
                "so it is with {stalled} of {tensors} tensors",
                stalled=values["stalled"],
                tensors=values["tensors"],
            ),
        ),
        (
            msg(
                "find out why the gradient of {largest} is so large (its term of the loss, its scale)",
                largest=values["largest"],
            ),
            msg(
                "clip each tensor by itself, or raise the clip's bound ({name}) from {bound:g} to about "
                "{value:.2g}",
                name=values["argument"],
                bound=bound,
                value=3 * norm,
            ),
        ),
    )


def _finding(fact: Fact, title: str, evidence: tuple[str, ...], advice: tuple[str, ...]) -> Finding:
    return Finding(
        CODE,
        title,
        Cause.LEARNING_RATE,
        Severity.ERROR,
        symptom=Symptom.RATE_TOO_SMALL,
        evidence=(*([str(fact.where)] if fact.where else []), *evidence),
        advice=advice,
        where=fact.where,
        mistake=True,
    )
