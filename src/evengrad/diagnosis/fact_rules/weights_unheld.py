"""EG912 weights that no optimizer holds: they get gradients, and nothing moves them.

What it finds: parameters that the loss depends on and that no optimizer of the script has; of Keras, models
that are trained although all of their weights are frozen, weights that were unfrozen behind compile(), layers
that a model calls and does not track, models of a step traced by TensorFlow that no optimizer is given (the
generator of a GAN, say, both of whose optimizers move the discriminator), and weights that a loop on JAX drops
behind each step.

Why it matters: an optimizer has the parameters that it was given when it was made. A layer that is put in
later, a model that is made anew, layers in a plain list (which `parameters()` does not see), a second network
that was forgotten: they keep their random initial values, and what is trained around them can make up for
little of that.

How it decides: in the first steps, by looking: they have gradients at the step, are part of a module, and no
optimizer that the script has made, before or later, holds them. Not meant to be trained, and so no finding:
what `requires_grad=False` freezes, what was loaded, what is in `eval()`, what was trained by an earlier
optimizer, what the script moves by itself, and single vectors (biases, scales) of a model whose matrices are
held.

What to do: make the optimizer after the last change of the model; keep layers in `nn.ModuleList`; give the
optimizer all networks that are to be trained.

References: PyTorch documentation, torch.optim: constructing it; pytorch#54765.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend
from evengrad.values.wording import count, layers, percent

CODE = "EG912"
FACT = "weights_unheld"
_SMALL = 0.1  # of the weights: the others can make up for them
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 8)
y = (x[:, 0] > 0).long()
{model}
for step in range(12):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
"""
_NET = "model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))\n"
_ADAM = "optimizer = torch.optim.Adam(model.parameters(), lr=0.01)\n"
_FROZEN = "for p in model[0].parameters():\n    p.requires_grad = False\n"
_LIST = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = {kind}([nn.Linear(8, 8) for _ in range(3)])
        self.out = nn.Linear(8, 2)
    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.out(x)
model = Net()
"""


def _loop(*lines: str, verb: str = "run") -> Program:
    return Program(
        "torch", _LOOP.format(model="".join(lines)), "check" if verb == "check" else "run"
    )


_KERAS = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
base = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu")], name="base")
base.trainable = False
model = keras.Sequential([base, keras.layers.Dense(2, activation="softmax")])
model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
model.fit(x, y, batch_size=16, epochs=3, verbose=0)
base.trainable = True
{again}
model.fit(x, y, batch_size=16, epochs=3, verbose=0)
"""


_GAN = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, :1] > 0).astype("float32")
net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16), keras.layers.Dense(1, activation="sigmoid")])
net.compile("adam", "binary_crossentropy")
net.trainable = {trainable}
upon = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), net])
upon.compile("adam", "binary_crossentropy")
for step in range(12):
    net.train_on_batch(x, y)
    {upon}
"""


def _gan(trainable: bool, verb: str = "run") -> Program:
    upon = "pass" if trainable else "upon.train_on_batch(x[:, :4], y)"
    source = _GAN.format(trainable=trainable, upon=upon)
    return Program("keras", source, "check" if verb == "check" else "run")


def _keras(again: str) -> Program:
    return Program("keras", _KERAS.format(again=again), "run", ("tensorflow",))


_PLAIN = """
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int32")

class Encoder{base}:
    def __init__(self):
        {init}
        self.code = keras.layers.Dense(16, activation="tanh")

    def {call}(self, x):
        return self.code(x)

class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.head = keras.layers.Dense(2)

    def call(self, x):
        return self.head(self.encoder(x))

net = Net()
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.Adam(0.01)
{loop}
"""
_PLAIN_FIT = """
net.compile(optimizer, loss_fn)
net.fit(x, y, batch_size=16, epochs=3, verbose=0)
"""
_PLAIN_LOOP = """
net(x)
@tf.function
def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = loss_fn(y, net(x, training=True))
    weights = net.trainable_variables{more}
    optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
for step in range(12):
    train_step(x, y)
"""
_JAX = """
import jax
import keras
import numpy as np
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "tanh"), keras.layers.Dense(2)])
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.Adam(0.01)
optimizer.build(model.trainable_variables)
def compute(weights, rest, x, y):
    out, rest = model.stateless_call(weights, rest, x, training=True)
    return loss_fn(y, out), rest
grad_fn = jax.value_and_grad(compute, has_aux=True)
@jax.jit
def step(state, x, y):
    weights, rest, slots = state
    (loss, rest), grads = grad_fn(weights, rest, x, y)
    weights, slots = optimizer.stateless_apply(slots, grads, weights)
    return loss, (weights, rest, slots)
held = model.trainable_variables, model.non_trainable_variables, optimizer.variables
state = tuple([v.value for v in one] for one in held)
for i in range(16):
    loss, {kept} = step(state, x, y)
"""


def _plain(loop: str, tracked: bool = False, verb: str = "run", more: str = "") -> Program:
    base, call = ("(keras.layers.Layer)", "call") if tracked else ("", "__call__")
    init = "super().__init__()" if tracked else "pass"
    text = _PLAIN.format(base=base, call=call, init=init, loop=loop.format(more=more))
    return Program("keras", text, "check" if verb == "check" else "run", ("tensorflow",))


def _jax(kept: str) -> Program:
    return Program("keras", _JAX.format(kept=kept), "run", ("jax",))


_META = """
import copy
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 8)
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for step in range(12):
    {inner}
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy({outer}, y)
    loss.backward()
    optimizer.step()
"""


def _meta(inner: str, outer: str) -> Program:
    return Program("torch", _META.format(inner=inner, outer=outer))


_TWO = """
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, activation="relu")])
head = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(2)])
optimizer, loss_of = keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
weights = encoder.trainable_variables{more}

@tf.function
def step():
    with tf.GradientTape() as tape:
        loss = loss_of(y, head(encoder(x, training=True), training={training}))
    optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))

for _ in range(12):
    step()
"""


def _two(more: str = "", *, training: bool = True) -> Program:
    source = _TWO.format(more=more, training=training)
    return Program("keras", source, "run", ("tensorflow",))


_GAN_TWICE = """
import keras
import tensorflow as tf
keras.utils.set_random_seed(0)
generator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(8)])
judge = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(1)])
bce = keras.losses.BinaryCrossentropy(from_logits=True)
g_optimizer, d_optimizer = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)

@tf.function
def train_step(real):
    fake = generator(tf.random.normal((32, 4)))
    with tf.GradientTape() as tape:
        loss = bce(tf.ones((32, 1)), judge(real)) + bce(tf.zeros((32, 1)), judge(fake))
    own = judge.trainable_weights
    d_optimizer.apply_gradients(zip(tape.gradient(loss, own), own))
    with tf.GradientTape() as tape:
        loss = bce(tf.ones((32, 1)), judge(generator(tf.random.normal((32, 4)))))
    own = {whose}.trainable_weights
    g_optimizer.apply_gradients(zip(tape.gradient(loss, own), own))

for step in range(12):
    train_step(tf.random.normal((32, 8)) + 1)
"""


def _adversaries(whose: str) -> Program:
    return Program("keras", _GAN_TWICE.format(whose=whose), "run", ("tensorflow",))


SICK = (
    _two(),
    _adversaries("judge"),
    _meta("adapted = copy.deepcopy(model)", "adapted(x)"),
    _keras(""),
    _plain(_PLAIN_FIT),
    _plain(_PLAIN_FIT, verb="check"),
    _plain(_PLAIN_LOOP),
    _plain(_PLAIN_LOOP, verb="check"),
    _jax("_"),
    _gan(False),
    _gan(False, "check"),
    _loop(_NET, _ADAM, "model[2] = nn.Linear(16, 2)\n"),
    _loop(_NET, _ADAM, "model[2] = nn.Linear(16, 2)\n", verb="check"),
    _loop(_NET, _FROZEN, _ADAM, "model[2] = nn.Linear(16, 2)\n"),
    _loop(_NET, _ADAM, _NET),
    _loop(_NET, _ADAM, "import copy\nmodel = copy.deepcopy(model)\n"),
    _loop(_LIST.format(kind="list"), _ADAM),
)
HEALTHY = (
    _adversaries("generator"),
    _two(" + head.trainable_variables"),
    _two(training=False),
    _meta("teacher = copy.deepcopy(model).eval()", "model(x) + 0 * teacher(x).detach()"),
    _plain(_PLAIN_FIT, tracked=True),
    _plain(_PLAIN_LOOP, tracked=True),
    _plain(_PLAIN_LOOP, more=" + net.encoder.code.trainable_variables"),
    _jax("state"),
    _gan(True),
    _keras('model.compile(keras.optimizers.Adam(0.001), "sparse_categorical_crossentropy")'),
    _loop(_NET, _ADAM),
    _loop(_NET, "model[2] = nn.Linear(16, 2)\n", _ADAM),
    _loop(_NET, _FROZEN, _ADAM),
    _loop(_LIST.format(kind="nn.ModuleList"), _ADAM),
    _loop(
        _NET,
        "model[0].load_state_dict(nn.Linear(8, 16).state_dict())\n",
        "optimizer = torch.optim.Adam(model[2].parameters(), lr=0.01)\n",
    ),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire on what was left over."""
    for fact in facts:
        values = fact.values
        part = values["how"] == "part" and not values["none"]
        part |= values["how"] == "untracked" and values["share"] < _SMALL
        yield Finding(
            CODE,
            _title(values),
            Cause.ARCHITECTURE,
            Severity.WARNING if part else Severity.ERROR,
            layers=tuple(values["layers"]),
            evidence=tuple(_evidence(fact)),
            advice=(_advice(values),),
            where=fact.where,
            mistake=True,
        )


def _title(values: Any) -> str:
    optimizer, share = values["optimizer"], percent(values["share"])
    if values["how"] == "frozen":
        return msg(
            "{model} is trained, and none of its weights is trainable: nothing is learnt",
            model=values["model"],
        )
    if values["how"] == "dropped":
        return msg(
            "the weights that stateless_apply() returns are dropped: every step begins at the start"
        )
    if values["how"] == "untracked":
        names = layers(values["layers"])
        return msg(
            "{model} calls {names} and does not track it: {share} of the weights are not trained",
            model=values["model"],
            names=names,
            share=share,
        )
    if values["how"] == "left":
        return msg(
            "no optimizer is given the weights of {model}, which the loss is made by",
            model=values["model"],
        )
    if values["how"] == "twice":
        return msg(
            "two optimizers move the same weights of {other}, and none those of {model}",
            other=values["other"],
            model=values["model"],
        )
    if values["how"] == "compiled":
        return msg(
            "{share} of the weights were made trainable behind compile(), and are not trained",
            share=share,
        )
    if values["how"] == "copies":
        return msg(
            "the loss reaches copies of the weights alone, not those that {optimizer} holds: no gradient",
            optimizer=optimizer,
        )
    if values["none"]:
        return msg(
            "{optimizer} holds none of the weights that the loss depends on: nothing is trained",
            optimizer=optimizer,
        )
    return msg(
        "no optimizer holds {share} of the weights that the loss depends on; {optimizer} lacks them",
        share=share,
        optimizer=optimizer,
    )


def _evidence(fact: Fact) -> Iterable[str]:
    values = fact.values
    if values["how"] == "frozen":
        frozen = layers(values["layers"])
        yield msg(
            "{where} trains {model}; trainable = False freezes {frozen}",
            where=fact.where or "fit",
            model=values["model"],
            frozen=frozen,
        )
        yield msg("Keras takes trainable as it is at the first step, not as it was in compile()")
        return
    if values["how"] == "dropped":
        yield msg(
            "{where} moves {weights}",
            where=fact.where or "stateless_apply()",
            weights=count(values["weights"], "weight"),
        )
        yield msg(
            "each of {steps} steps was given the same ones again, which nobody has updated",
            steps=values["steps"],
        )
        return
    if values["how"] == "untracked":
        yield msg(
            "{where} calls {layers} inside of {model}",
            where=fact.where or "call()",
            layers=layers(values["layers"]),
            model=values["model"],
        )
        tensors, weights = count(values["tensors"], "tensor"), count(values["weights"], "weight")
        yield msg(
            "{tensors} with {weights} are not in its trainable_variables: {optimizer} lacks them",
            tensors=tensors,
            weights=weights,
            optimizer=values["optimizer"],
        )
        return
    if values["how"] == "left":
        yield msg(
            "{where} is not asked for the gradients of {model}",
            where=fact.where or "tape.gradient()",
            model=values["model"],
        )
        weights = count(values["weights"], "weight")
        yield msg(
            "{model} is called with training=True, and {weights} never move",
            model=values["model"],
            weights=weights,
        )
        return
    if values["how"] == "twice":
        yield msg(
            "{where}: both optimizers are given these same weights",
            where=fact.where or "tape.gradient()",
        )
        weights = count(values["weights"], "weight")
        yield msg(
            "the loss is made by {model}, too, whose {weights} no optimizer moves",
            model=values["model"],
            weights=weights,
        )
        return
    if values["how"] == "compiled":
        tensors, weights = count(values["tensors"], "tensor"), count(values["weights"], "weight")
        yield msg(
            "{where} trains with the step that was compiled before", where=fact.where or "fit"
        )
        yield msg(
            "that step does not know {tensors} with {weights}: {layers}",
            tensors=tensors,
            weights=weights,
            layers=layers(values["layers"]),
        )
        return
    yield msg("{where} made the optimizer", where=fact.where or values["optimizer"])
    if values["replaced_at"]:
        yield msg(
            "{replaced} was put in at {replaced_at}",
            replaced=values["replaced"],
            replaced_at=values["replaced_at"],
        )
    tensors, weights = count(values["tensors"], "tensor"), count(values["weights"], "weight")
    yield msg(
        "{tensors} with {weights} have gradients and are not moved: {layers}",
        tensors=tensors,
        weights=weights,
        layers=layers(values["layers"]),
    )


def _advice(values: Any) -> str:
    optimizer, names = values["optimizer"], layers(values["layers"])
    if values["how"] == "frozen":
        return msg(
            "set {model}.trainable = True before its first step; where another model is to train "
            "upon it (a GAN's), write the steps by hand and give each optimizer its model's "
            "trainable_variables",
            model=values["model"],
        )
    if values["how"] == "dropped":
        return msg(
            "carry the returned state on: give the next step the trainable_variables and optimizer_variables "
            "that this one has returned (state = new_state)"
        )
    if values["how"] == "untracked":
        return msg(
            "make {names} attributes of a keras.Layer or keras.Model (self.x = ...) in its __init__: a plain "
            "class, a Lambda's closure or a global is not tracked",
            names=names,
        )
    if values["how"] == "twice":
        return msg(
            "one of the two is to move {model}: differentiate its loss by these trainable_variables, and give "
            "that optimizer's apply_gradients() them",
            model=values["model"],
        )
    if values["how"] == "left":
        return msg(
            "give the tape and {optimizer} the trainable_variables of {model}, too; call with "
            "training=False, or set trainable = False, what is not to be trained",
            optimizer=optimizer,
            model=values["model"],
        )
    if values["how"] == "compiled":
        return msg(
            "call model.compile(...) again after trainable was changed, with the rate for fine-tuning"
        )
    if values["how"] == "copies":
        return msg(
            "compute the loss with the model's own weights: a copy (deepcopy) and what is written through "
            ".data are detached from them. An inner step keeps its graph as w - rate * gradient, called by "
            "torch.func.functional_call; or train the model itself, and copy it later"
        )
    if values["how"] in ("replaced", "later"):
        return msg(
            "make {optimizer} after the last change of the model ({names}), from its parameters() of then",
            optimizer=optimizer,
            names=names,
        )
    freeze = msg("freeze by requires_grad = False what is not to be trained")
    if values["how"] == "apart":
        return msg(
            "give {optimizer} the parameters of {names}, too; layers in a plain list or dict belong into "
            "nn.ModuleList or nn.ModuleDict, so that parameters() finds them; {freeze}",
            optimizer=optimizer,
            names=names,
            freeze=freeze,
        )
    return msg(
        "give {optimizer} the parameters of {names}, too; {freeze}",
        optimizer=optimizer,
        names=names,
        freeze=freeze,
    )
