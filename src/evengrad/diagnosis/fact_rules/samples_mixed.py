"""EG953 samples mixed: the answer to a sample depends on the other samples of its batch.

What it finds: a model whose answers to samples that stay the same change with the rest of the batch, while it
learns little. An LSTM or attention that takes the first axis for time (`batch_first=False`) reads one sample
after the other as if they were steps of one sequence; a `view` where a `permute` was meant cuts samples
apart.

Why it matters: what belongs to one sample is lost, and what does not is added. The shapes fit, nothing fails;
the loss stays near that of a constant answer.

How it decides: when the script is over, by the last training batch in evaluation mode: every other sample is
replaced by its neighbour, and most of the answers to those that stayed change. Beyond an LSTM or attention
that is told the wrong axis, only where the order of the samples matters, too (a statistic over the batch does
not see it). Only where each sample has one target, and the loss is above three tenths of a constant answer's.

Keras' recurrent and attention layers have the batch first; there it is a reshape, a transpose or a
normalisation along axis 0. Of a training by `fit` with one loss function, on every backend.

What to do: PyTorch: `batch_first=True`, or `x.transpose(0, 1)` before and after; `permute` instead of `view`
to exchange axes, `flatten(1)` to flatten. Keras: `Permute` or `ops.transpose` instead of `Reshape`.

References: PyTorch documentation, torch.nn.LSTM (batch_first); Karpathy 2019, A recipe for training neural
networks (use backprop to chart dependencies).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG953"
FACT = "samples_mixed"
_LEARNT = 0.3
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
n, steps = 480, 12
y = torch.randint(0, 3, (n,))
x = torch.randn(n, steps, 4) + 0.8 * nn.functional.one_hot(y, 4).unsqueeze(1)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = {inner}
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        {forward}

model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(6):
    for rows in torch.randperm(n).split(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
"""
_LAST = "return self.head(self.inner(x)[0][:, -1])"
_CUT = "return self.head(torch.relu(self.inner(x.{cut})).mean(1))"


_FIT = """
import keras
import numpy as np
from keras import layers, ops
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
n, steps = 480, 12
y = rng.integers(0, 3, n)
x = (rng.normal(size=(n, steps, 4)) + 0.8 * np.eye(4)[y][:, None]).astype("float32")
inputs = keras.Input((steps, 4))
h = {cut}
h = layers.Dense(16, activation="relu")(h)
model = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling1D()(h)))
model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
model.fit(x, y, batch_size=40, epochs=6, verbose=0)
"""


def _fit(cut: str) -> Program:
    return Program("keras", _FIT.format(cut=cut))


def _loop(inner: str, forward: str = _LAST) -> Program:
    return Program("torch", _LOOP.format(inner=inner, forward=forward))


SICK = (
    _fit("ops.reshape(ops.transpose(inputs, (1, 0, 2)), (-1, steps, 4))"),
    _loop("nn.LSTM(4, 16)"),
    _loop("nn.Linear(4, 16)", _CUT.format(cut="transpose(0, 1).reshape(len(x), 12, 4)")),
)
HEALTHY = (
    _fit("layers.Permute((2, 1))(layers.Permute((2, 1))(inputs))"),
    _fit("layers.BatchNormalization()(inputs)"),
    _loop("nn.LSTM(4, 16, batch_first=True)"),
    _loop("nn.LSTM(4, 16)", "return self.head(self.inner(x.transpose(0, 1))[0][-1])"),
    _loop("nn.Linear(4, 16)", _CUT.format(cut="float()")),
    _loop("nn.Linear(4, 16)", _CUT.format(cut="sub(x.mean((0, 1)))")),
)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire on what was seen at the end, if little was learnt."""
    for fact in facts:
        values = fact.values
        if values["loss"] < _LEARNT * values["baseline"]:
            continue
        kind, name = values["kind"], values["module"]
        place = msg(" in {name} ({kind})", name=name, kind=kind) if name else ""
        shape = tuple(values["shape"])
        evidence = [
            msg(
                "every other sample of a batch of shape {shape} was replaced; the answers to those that "
                "stayed changed",
                shape=shape,
            ),
            msg(
                "the last batch's loss is {loss:.3g}, a constant answer's {baseline:.3g}",
                loss=values["loss"],
                baseline=values["baseline"],
            ),
        ]
        if values["known"]:
            evidence.insert(
                1,
                msg(
                    "{kind} takes the first axis, {shape} samples, for time",
                    kind=kind,
                    shape=shape[0],
                ),
            )
        yield Finding(
            CODE,
            msg(
                "the answer to a sample depends on the other samples of its batch: they are mixed{place}",
                place=place,
            ),
            Cause.ARCHITECTURE,
            Severity.ERROR,
            layers=(name,) if name else (),
            evidence=tuple(evidence),
            advice=tuple(_advice(kind, values["known"], frontend)),
            where=fact.where,
            unhealthy=True,
            mistake=True,
        )


def _advice(kind: str, known: bool, frontend: Frontend) -> Iterable[str]:
    if known:
        yield msg(
            "nn.{kind}(..., batch_first=True), as the data are (batch, time, features)", kind=kind
        )
        yield msg("or exchange the axes before and after it: x.transpose(0, 1)")
    elif frontend == "torch":
        yield msg(
            "to exchange axes use permute or transpose, not view or reshape; flatten with flatten(1)"
        )
        yield msg(
            "look where the batch's axis, the first one, is summed, normalised or moved (dim=0)"
        )
    else:
        yield msg(
            "to exchange axes use Permute or ops.transpose with the batch's axis first, not a reshape"
        )
        yield msg(
            "look where the batch's axis, the first one, is summed, normalised or moved (axis=0)"
        )
