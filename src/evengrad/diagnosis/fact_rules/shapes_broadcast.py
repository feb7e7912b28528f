"""EG930 shapes that broadcast: the loss compares every output with every target.

What it finds: a loss of an output of shape (N, 1) against targets of shape (N,), or the other way round, as a
loss function or by hand.

Why it matters: the two are broadcast to (N, N): each output is compared with the targets of all samples. What
minimises that is the mean of the targets for every input: the loss falls to their variance and stays there.

How it decides: exactly. One side comes from the model; both have the same axes but for axes of one, not the
same number of axes, and together make more elements than either has. Who pairs on purpose, as in
x[:, None] - y[None, :], writes the same number of axes.

What to do: give both one shape: target.unsqueeze(1), or output.squeeze(1).

References: the warning of torch.nn.functional.mse_loss; NumPy's rules of broadcasting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG930"
FACT = "shapes_broadcast"

_TORCH = """\
import torch
torch.manual_seed(0)
x = torch.randn(64, 4)
y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0])
model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(20):
    optimizer.zero_grad()
    out = model(x)
    loss = {loss}
    loss.backward()
    optimizer.step()
"""


def _torch(loss: str) -> tuple[Program, ...]:
    source = _TORCH.format(loss=loss)
    return Program("torch", source), Program("torch", source, "check")


_KERAS = """\
import keras
import numpy as np
import tensorflow as tf
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
y = (x @ np.array([1.0, -2.0, 0.5, 0.0])).astype("float32")
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(1)])
optimizer = keras.optimizers.Adam(1e-2)

{graph}
def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square({difference}))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))

for step in range(12):
    train_step(x, y)
"""


def _keras(difference: str, graph: str = "@tf.function", verb: str = "run") -> Program:
    source = _KERAS.format(difference=difference, graph=graph)
    return Program("keras", source, "check" if verb == "check" else "run", ("tensorflow",))


_LABELS = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = x[:, :5].argmax(1)
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(5, "softmax")])
model.compile(keras.optimizers.Adam(1e-2), "{loss}")
model.fit(x, {y}, epochs=5, verbose=0)
"""


def _labels(loss: str, y: str, verb: str = "run") -> Program:
    source = _LABELS.format(loss=loss, y=y)
    return Program("keras", source, "check" if verb == "check" else "run", ("tensorflow", "jax"))


SICK = (
    _labels("mse", "y[:, None]"),
    _labels("mse", "y[:, None]", "check"),
    _keras("y - model(x, training=True)"),
    _keras("y - model(x, training=True)", ""),
    _keras("y - model(x, training=True)", verb="check"),
    *_torch("torch.nn.MSELoss()(out, y)"),
    *_torch("torch.nn.functional.smooth_l1_loss(out.squeeze(1), y.unsqueeze(1))"),
    *_torch("((out - y) ** 2).mean()"),
    *_torch("torch.abs(y - out).sum(1).mean()"),
    *_torch("-(torch.nn.functional.logsigmoid(out) * (y > 0)).mean()"),
)
HEALTHY = (
    _labels("mse", "keras.utils.to_categorical(y, 5)"),
    _labels("sparse_categorical_crossentropy", "y[:, None]"),
    _keras("y[:, None] - model(x, training=True)"),
    _keras("y[:, None] - model(x, training=True)", ""),
    *_torch("torch.nn.functional.mse_loss(out.squeeze(1), y)"),
    *_torch("torch.nn.functional.mse_loss(out - out.T, y[:, None] - y[None, :])"),
    *_torch("(out - out.T - (y[:, None] - y[None, :])).square().mean()"),
    *_torch("(2 * (out - y[:, None]).abs() - (out - out.T).abs()).mean()"),
    *_torch("((out - y.unsqueeze(1)) ** 2 * torch.ones(1, 1)).mean()"),
)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """One finding a line."""
    for fact in facts:
        if fact.values.get("classes"):
            yield _classes(fact)
            continue
        output, target, result = (_shape(fact.values[k]) for k in ("output", "target", "result"))
        yield Finding(
            CODE,
            msg(
                "an output of shape {output} and targets of shape {target} broadcast to {result}",
                output=output,
                target=target,
                result=result,
            ),
            Cause.LOSS_HEAD,
            Severity.ERROR,
            evidence=(
                *([str(fact.where)] if fact.where else []),
                msg(
                    "{function} compares every output with the targets of all samples",
                    function=fact.values["function"],
                ),
                msg("what minimises that is one answer for every input: the mean of the targets"),
            ),
            advice=(_advice(fact, frontend),),
            where=fact.where,
            mistake=True,
        )


def _classes(fact: Fact) -> Finding:
    units, function = fact.values["classes"], fact.values["function"]
    output, target = _shape(fact.values["output"]), _shape(fact.values["target"])
    return Finding(
        CODE,
        msg(
            "class numbers of shape {target} broadcast against {units} units: {function} wants a value "
            "for each",
            target=target,
            units=units,
            function=function,
        ),
        Cause.LOSS_HEAD,
        Severity.ERROR,
        evidence=(
            *([str(fact.where)] if fact.where else []),
            msg(
                "an output of shape {output} is compared with one class number a sample, the same for all "
                "{units} units",
                output=output,
                units=units,
            ),
        ),
        advice=(
            msg('loss="sparse_categorical_crossentropy", which reads class numbers'),
            msg("or one-hot targets: keras.utils.to_categorical(y, {units})", units=units),
        ),
        where=fact.where,
        mistake=True,
    )


def _shape(sizes: Sequence[int]) -> str:
    """An N of a batch whose size is not known is no text of Python's."""
    return str(tuple(sizes)).replace("'", "")


def _advice(fact: Fact, frontend: Frontend) -> str:
    output, target = fact.values["output"], fact.values["target"]
    more = len(output) > len(target)
    longer, shorter = (output, target) if more else (target, output)
    axis = _axis(longer, shorter)
    names = ("target", "output") if more else ("output", "target")
    if frontend == "keras":
        expand, squeeze = f"keras.ops.expand_dims({{}}, {axis})", f"keras.ops.squeeze({{}}, {axis})"
    else:
        expand, squeeze = f"{{}}.unsqueeze({axis})", f"{{}}.squeeze({axis})"
    return msg(
        "give both one shape: {format}, or {format2}",
        format=expand.format(names[0]),
        format2=squeeze.format(names[1]),
    )


def _axis(longer: Sequence[int], shorter: Sequence[int]) -> int:
    """Where the shorter one misses the axis of one."""
    places = [i for i, n in enumerate(longer) if n == 1]
    fits = [i for i in places if [*longer[:i], *longer[i + 1 :]] == [*shorter]]
    return (fits or places)[-1]
