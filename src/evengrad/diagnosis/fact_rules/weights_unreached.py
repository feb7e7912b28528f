"""EG913 weights that no gradient reaches: the way from the loss to them is cut.

What it finds: an optimizer none of whose weights gets a gradient at any step, or a whole model or part of one
that gets none, and the line at which the way from the loss to them ends.

Why it matters: its steps do nothing. `detach()`, `.data`, `torch.no_grad()`, `.item()`, `argmax` and
`torch.tensor(...)` of a model's output give values that no longer know where they come from; a loss of them
trains nothing behind them. A generator whose own loss reads the detached fakes never learns. Nor does what
stands before a step (`round`, `sign`) or a bound that every value lies beyond: there the slope is 0. Under
Keras `stop_gradient`, `.numpy()`, `predict()` and what numpy makes of a model's output do the same.

How it decides: in the first steps, by looking: the gradients are missing at every one, none of the script's
backward passes has made any, and there are none at the end. The line: every call of the first two steps is
followed from the weights to the loss. A part of a model counts where its values were made, and were then cut
off on their way to a loss or left torch; not where it was loaded, is in `eval()`, or is moved by other means.

Keras: exactly on TensorFlow, in the graph that is traced: weights that the loss reads, whose gradient is None,
and the operation between them that has no gradient. In a loop that runs eagerly, on PyTorch, too, where a whole
model's output is cut and goes into another model or loss, with the values that it had. Not on JAX, where such a
gradient is a zero like any other, and where numpy refuses what is being differentiated.

What to do: let the loss read the value itself, and cut only where that is meant (`fake.detach()` in the
discriminator's step alone). Round what is reported, not what the loss reads.

References: PyTorch documentation, autograd mechanics: locally disabling gradient computation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG913"
FACT = "weights_unreached"
_GAN = """
import torch
from torch import nn
torch.manual_seed(0)
netG = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8))
netD = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
optimizerG = torch.optim.Adam(netG.parameters(), lr=1e-3)
optimizerD = torch.optim.Adam(netD.parameters(), lr=1e-3)
bce = nn.functional.binary_cross_entropy_with_logits
for step in range(12):
    real = torch.randn(32, 8) + 1
    optimizerD.zero_grad()
    fake = netG(torch.randn(32, 4))
    {before}
    bce(netD(real), torch.ones(32, 1)).backward()
    bce(netD(fake.detach()), torch.zeros(32, 1)).backward()
    optimizerD.step()
    optimizerG.zero_grad()
    bce(netD({fake}), torch.ones(32, 1)).backward()
    optimizerG.step()
"""
_POLICY = """
import torch
from torch import nn
torch.manual_seed(0)
policy = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
value = nn.Linear(4, 1)
actor = torch.optim.Adam(policy.parameters(), lr=1e-3)
critic = torch.optim.Adam(value.parameters(), lr=1e-3)
for step in range(12):
    state = torch.randn(32, 4)
    choice = torch.distributions.Categorical(logits=policy(state))
    action = choice.sample()
    gain = (action == (state[:, 0] > 0)).float()
    advantage = gain - value(state).squeeze(1)
    loss = -(choice.log_prob(action){cut} * advantage.detach()).mean()
    total = loss + advantage.pow(2).mean()
    actor.zero_grad()
    critic.zero_grad()
    total.backward()
    actor.step()
    critic.step()
"""


def _gan(before: str = "pass", fake: str = "fake") -> Program:
    return Program("torch", _GAN.format(before=before, fake=fake))


_FEATURES = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 8)
y = (x[:, 0] > 0).long()
encoder = nn.Sequential(nn.Linear(8, 16), nn.Tanh())
head = nn.Linear(16, 2)
optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=1e-2)
for step in range(12):
    features = {features}
    optimizer.zero_grad()
    nn.functional.cross_entropy(head(features), y).backward()
    optimizer.step()
"""


def _features(features: str, verb: str = "run") -> Program:
    return Program(
        "torch", _FEATURES.format(features=features), "check" if verb == "check" else "run"
    )


_STEP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 8)
y = (x[:, :1] > 0).float()
model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(12):
    out = {out}
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(out, y)
    loss = {loss}
    loss.backward()
    optimizer.step()
"""


def _step(out: str, verb: str = "run", loss: str = "loss") -> Program:
    source = _STEP.format(out=out, loss=loss)
    return Program("torch", source, "check" if verb == "check" else "run")


_KERAS = """
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="tanh")])
head = keras.Sequential([keras.Input((16,)), keras.layers.Dense(2)])
optimizer = keras.optimizers.Adam(1e-2)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
weights = {weights}
{graph}
def train_step(images, labels):
    with tf.GradientTape() as tape:
        features = encoder(images, training=True)
        features = {features}
        loss = loss_fn(labels, head(features, training=True))
    gradients = tape.gradient(loss, weights)
    optimizer.apply_gradients(zip(gradients, weights))

for step in range(12):
    train_step(x, y)
"""
_KERAS_FIT = """
import keras
import numpy as np
from keras import layers, ops
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
given = keras.Input((8,))
h = layers.Dense(16, activation="tanh"{frozen})(given)
h = {features}
model = keras.Model(given, layers.Dense(2, activation="softmax")(h))
model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
model.fit(x, y, epochs=6, verbose=0)
"""


_KERAS_TORCH = """
import keras
import torch
keras.utils.set_random_seed(0)
x = torch.randn(64, 8)
y = (x[:, 0] > 0).long()
encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="tanh")])
head = keras.Sequential([keras.Input((16,)), keras.layers.Dense(2)])
optimizer = keras.optimizers.Adam(1e-2)
weights = [*encoder.trainable_weights, *head.trainable_weights]
for step in range(12):
    features = encoder(x, training=True)
    features = {features}
    loss = torch.nn.functional.cross_entropy(head(features, training=True), y)
    encoder.zero_grad()
    head.zero_grad()
    loss.backward()
    with torch.no_grad():
        optimizer.apply([v.value.grad for v in weights], weights)
"""


def _keras_torch(features: str) -> Program:
    return Program("keras", _KERAS_TORCH.format(features=features), "run", ("torch",))


def _keras(
    features: str,
    weights: str = "encoder.trainable_variables + head.trainable_variables",
    graph: str = "@tf.function",
    verb: str = "run",
) -> Program:
    source = _KERAS.format(features=features, weights=weights, graph=graph)
    return Program("keras", source, "check" if verb == "check" else "run", ("tensorflow",))


def _fit(features: str, frozen: str = "", verb: str = "run") -> Program:
    source = _KERAS_FIT.format(features=features, frozen=frozen)
    return Program("keras", source, "check" if verb == "check" else "run", ("tensorflow",))


_ROUNDED = """
import keras
import numpy as np
from keras import layers, ops
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, :1] > 0).astype("float32")

def own(target, output):
    return ops.mean(ops.square(target - {output}))

model = keras.Sequential([keras.Input((8,)), layers.Dense(16, activation="tanh"), layers.Dense(1, "sigmoid")])
model.compile(keras.optimizers.Adam(1e-2), own)
model.fit(x, y, epochs=6, verbose=0)
"""


def _rounded(output: str, verb: str = "run", backends: tuple[str, ...] = ("jax",)) -> Program:
    source = _ROUNDED.format(output=output)
    return Program("keras", source, "check" if verb == "check" else "run", backends)


SICK = (
    _rounded("ops.round(output)"),
    _rounded("ops.round(output)", "check", ("tensorflow", "jax", "torch")),
    _rounded("ops.sign(output - 0.5)"),
    _step("torch.round(torch.sigmoid(model(x)))"),
    _step("torch.round(torch.sigmoid(model(x)))", "check"),
    _step("torch.clamp(model(x) + 9, 0, 1)"),
    _step("torch.relu(model(x) - 9)"),
    _keras("tf.stop_gradient(features)"),
    _keras("tf.stop_gradient(features)", verb="check"),
    _keras("features.numpy()", graph=""),
    _keras("tf.constant(features.numpy() + 0)", graph=""),
    _keras_torch("torch.tensor(features.detach().cpu().numpy())"),
    _keras_torch("features.data"),
    _fit("ops.stop_gradient(h)"),
    _fit("ops.stop_gradient(h)", verb="check"),
    _features("torch.tensor(encoder(x).tolist())"),
    _step("model(x)", loss="torch.tensor(loss.item(), requires_grad=True)"),
    _step("model(x)", "check", "torch.autograd.Variable(loss.data, requires_grad=True)"),
    _features("encoder(x).data", "check"),
    _gan("fake = fake.detach()"),
    _gan(fake="fake.data"),
    _gan("with torch.no_grad(): fake = netG(torch.randn(32, 4))"),
    Program("torch", _POLICY.format(cut=".detach()")),
)
HEALTHY = (
    _rounded("output"),
    _rounded("(output + 0 * ops.round(output))"),
    _step("torch.clamp(model(x), 0, 1)"),
    _step("model(x) + (torch.round(model(x)) - model(x)).detach()"),
    _keras("features"),
    _keras("features", verb="check"),
    _keras("tf.stop_gradient(features)", "head.trainable_variables"),
    _fit("h"),
    _keras_torch("features"),
    _keras_torch("features + 0 * features.detach()"),
    _fit("ops.stop_gradient(h)", ", trainable=False"),
    _features("encoder(x)"),
    _features("encoder(x) + 0 * encoder(x).detach()"),
    _features("encoder.eval()(x).detach()"),
    _gan(),
    Program("torch", _POLICY.format(cut="")),
)

_STEPS = frozenset(
    ["round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside", "floor_divide", "argmax"]
)
_SMALL = 0.1  # of the weights: the others can make up for them
_WORDS = {
    "detach": msg("detach() gives a value without its gradient"),
    "item": msg(".item() makes a plain number of it"),
    "numpy": msg(".numpy() makes an array of it"),
    "tolist": msg(".tolist() makes plain numbers of it"),
    "no_grad": msg("torch.no_grad() is on"),
    "tensor": msg("torch.tensor(...) makes a new tensor of it"),
    "as_tensor": msg("torch.as_tensor(...) makes a new tensor of it"),
    "argmax": msg("argmax has no gradient"),
    "stop_gradient": msg("stop_gradient gives a value without its gradient"),
    "new": msg(
        "the loss is a new tensor with requires_grad=True: it does not know what it was computed from"
    ),
    "predict": msg("predict() gives an array, which no gradient passes"),
}


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire on each optimizer that it was seen of."""
    for fact in facts:
        values = fact.values
        whose = values["model"] or msg("the weights of {optimizer}", optimizer=values["optimizer"])
        gone = msg("is None") if values["none"] else msg("is zero or None")
        yield Finding(
            CODE,
            msg(
                "no gradient reaches {whose}: {what}, and {optimizer} {moves}",
                whose=whose,
                what=_what(values),
                optimizer=values["optimizer"],
                moves=_moves(values),
            ),
            Cause.ARCHITECTURE,
            Severity.WARNING if values.get("share", 1.0) < _SMALL else Severity.ERROR,
            evidence=tuple(_evidence(fact, gone)),
            advice=tuple(_advice(values, whose, frontend)),
            unhealthy=True,
            where=fact.where,
            mistake=True,
        )


def _moves(values: Any) -> str:
    return msg("does not move it") if values.get("part") else msg("moves nothing")


def _what(values: Any) -> str:
    if values.get("flat"):
        return msg("the slope of {kind} is 0 at every value that it gets", kind=values["kind"])
    if values["kind"] == "new":
        return msg("the loss is a new tensor, detached from them")
    if values["kind"] in ("", "detach"):
        return (
            msg("its way is cut (detach)")
            if values["kind"]
            else msg("its loss is detached from them")
        )
    return msg("its way is cut ({kind}, which detaches)", kind=values["kind"])


def _evidence(fact: Fact, gone: str) -> Iterable[str]:
    values = fact.values
    if values["cut"]:
        why: str = _WORDS.get(
            values["kind"], msg("{kind} gives a value without its gradient", kind=values["kind"])
        )
        if values.get("flat"):
            why = _flat(values["kind"])
        yield msg("{cut}: {why}", cut=values["cut"], why=why)
    if not values["steps"]:
        yield msg(
            "backward() fails at {backward}: the loss does not require a gradient",
            backward=values["backward"],
        )
        return
    steps = (
        msg("the first step")
        if values["steps"] == 1
        else msg("each of {steps} steps", steps=values["steps"])
    )
    whose = msg("weight of {model}", model=values["model"]) if values.get("part") else msg("weight")
    yield msg(
        "the gradient of every {whose} {gone} in {steps} of {optimizer}",
        whose=whose,
        gone=gone,
        steps=steps,
        optimizer=values["optimizer"],
    )
    if values["backward"]:
        yield msg("the backward pass before it: {backward}", backward=values["backward"])


def _flat(kind: str) -> str:
    if _is_step(kind):
        return msg(
            "{kind} is a step function: not differentiable, its derivative is 0 everywhere",
            kind=kind,
        )
    return msg(
        "every value lies where {kind} is flat: its derivative is exactly 0 there", kind=kind
    )


def _is_step(kind: str) -> bool:
    return kind.rpartition(".")[2].rstrip("_") in _STEPS


def _advice(values: Any, whose: str, frontend: Frontend) -> Iterable[str]:
    if values.get("flat"):
        kind = values["kind"]
        if _is_step(kind):
            yield msg(
                "let the loss read the value before {kind}; apply {kind} only to what is reported",
                kind=kind,
            )
        else:
            yield msg(
                "leave {kind} off the output: end in a linear layer, whose slope is never 0",
                kind=kind,
            )
            yield msg(
                "or bring what {kind} gets into the range where it rises: smaller weights or inputs",
                kind=kind,
            )
        return
    if values["kind"] == "no_grad":
        yield msg("call {whose} outside of torch.no_grad() where its own loss is made", whose=whose)
    elif values["kind"] == "new":
        yield msg(
            "call backward() on the loss as it was computed: no Variable(loss.data, requires_grad=True), "
            "torch.tensor(loss) or loss.item() in front of it"
        )
    elif values["kind"] and frontend == "keras":
        yield msg(
            "give the loss of {optimizer} the value itself: no stop_gradient, .numpy(), predict() "
            "or argmax between {whose} and it",
            optimizer=values["optimizer"],
            whose=whose,
        )
    elif values["kind"]:
        yield msg(
            "give the loss of {optimizer} the value itself: no detach(), .data, .item() or new "
            "tensor between {whose} and it",
            optimizer=values["optimizer"],
            whose=whose,
        )
    else:
        how: str = msg("not detached")
        if frontend == "keras":
            how = msg(
                "without stop_gradient or .numpy(), and compile() with a loss where there is no loop"
            )
        yield msg(
            "make the loss of {optimizer} from the output of {whose}, {how}",
            optimizer=values["optimizer"],
            whose=whose,
            how=how,
        )
    how = "requires_grad = False" if frontend == "torch" else "trainable = False"
    yield msg("if {whose} is not to be trained, freeze it by {how}", whose=whose, how=how)
