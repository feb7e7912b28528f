"""EG951 evaluation at chance: the batch just trained on is well in training mode, and lost in evaluation mode.

What it finds: a model whose loss on its last training batch is well below that of a constant answer as it
trains, and at or above it as it is evaluated, with the same weights.

Why it matters: what is evaluated, saved and used is the second one. Accuracy on held-out data stays at chance
while the training looks perfect, and more training or data change nothing.

How it decides: when the script is over, the last batch goes through the model once more in each mode. It fires
where the loss in training mode is below three quarters of the constant baseline (see EG810), and in evaluation
mode not a tenth of what it gained over that is left (measured choices). Only where the loss function is known,
and what lies between it and the model.

What to do: batch normalisation evaluates with moving statistics, which take up a share of each batch's; a run
that is short against their momentum leaves them at 0 and 1. Let them move faster (PyTorch: momentum=0.1; Keras:
momentum=0.9), train longer, or let them be updated at all: a Keras loop of one's own calls the model with
training=True. Where training and evaluation data differ, keep their batches apart, or normalise by layers or
groups.

References: Ioffe 2015 (1502.03167), section 3.1; pytorch#4741; keras-team/keras#6977.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend
from evengrad.values.wording import percent

CODE = "EG951"
FACT = "evaluation_apart"
_WELL, _LEFT = 0.75, 0.1

_TORCH = """
import torch
from torch import nn
torch.manual_seed(0)
x = 9 + 3 * torch.randn(512, 12)
y = x[:, :3].argmax(1)
model = nn.Sequential(
    nn.Linear(12, 32), nn.BatchNorm1d(32{momentum}), nn.ReLU(),
    nn.Linear(32, 32), nn.BatchNorm1d(32{momentum}), nn.ReLU(),
    nn.Linear(32, 32), nn.BatchNorm1d(32{momentum}), nn.ReLU(), {more}nn.Linear(32, 3),
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(80):
    rows = torch.randint(0, 512, (64,))
    optimizer.zero_grad()
    loss = nn.functional.{loss}
    loss.backward()
    optimizer.step()
model.eval()
"""
_KERAS = """
import keras
import numpy as np
from keras import layers
keras.utils.set_random_seed(0)
x = (9 + 3 * np.random.randn(512, 12)).astype("float32")
y = x[:, :3].argmax(1)
model = keras.Sequential([
    layers.Input((12,)),
    layers.Dense(32), layers.BatchNormalization(momentum={momentum}), layers.ReLU(),
    layers.Dense(32), layers.BatchNormalization(momentum={momentum}), layers.ReLU(),
    layers.Dense(32), layers.BatchNormalization(momentum={momentum}), layers.ReLU(), layers.Dropout(0.2),
    layers.Dense(3, activation="softmax"),
])
model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
model.fit(x, y, batch_size=64, epochs=10, verbose=0)
"""


def _torch(
    momentum: str = "", more: str = "", loss: str = "cross_entropy(model(x[rows]), y[rows])"
) -> Program:
    return Program("torch", _TORCH.format(momentum=momentum, more=more, loss=loss))


SICK = (
    _torch(", momentum=0.001"),
    _torch(", momentum=0.001", loss="nll_loss(model(x[rows]).log_softmax(1), y[rows])"),
    Program("keras", _KERAS.format(momentum=0.9999)),
)
HEALTHY = (
    _torch(),
    _torch(more="nn.Dropout(0.5), "),
    _torch(loss="nll_loss(model(x[rows]).log_softmax(1), y[rows])"),
    Program("keras", _KERAS.format(momentum=0.9)),
)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire where the modes lie on either side of the baseline."""
    for fact in facts:
        values = fact.values
        training, evaluation = float(values["training"]), float(values["evaluation"])
        bound = float(values["baseline"])
        if not training < _WELL * bound or bound - evaluation > _LEFT * (bound - training):
            continue
        yield Finding(
            CODE,
            msg(
                "the last batch's loss is {training:.3g} as it trains and {evaluation:.3g} in "
                "evaluation, where a "
                "constant answer has {bound:.3g}",
                training=training,
                evaluation=evaluation,
                bound=bound,
            ),
            Cause.NORMALISATION,
            Severity.ERROR,
            layers=tuple(values["layers"]),
            evidence=(
                msg("the same batch and the same weights, in either mode"),
                *_statistics(fact, frontend),
            ),
            advice=tuple(_advice(fact, frontend)),
            where=fact.where,
        )


def _share(fact: Fact, frontend: Frontend) -> float | None:
    """Of the moving statistics, how much is of this run's batches."""
    momentum = fact.values["momentum"]
    if momentum is None:
        return None
    kept = momentum if frontend == "keras" else 1 - momentum
    return float(1 - kept ** fact.values["steps"])


def _statistics(fact: Fact, frontend: Frontend) -> list[str]:
    share = _share(fact, frontend)
    if share is None:
        return []
    values = fact.values
    return [
        msg(
            "{kind} evaluates with moving statistics: after {steps} steps at momentum "
            "{momentum:g} they are to {share} those of the data",
            kind=values["kind"],
            steps=values["steps"],
            momentum=values["momentum"],
            share=percent(share),
        )
    ]


def _advice(fact: Fact, frontend: Frontend) -> Iterable[str]:
    share, kind = _share(fact, frontend), fact.values["kind"]
    if share is None:
        yield msg(
            "lower the rate of {kind}, or call model.train() and model.eval() where they belong",
            kind=kind,
        )
    elif share < 0.95:
        faster = "momentum=0.9" if frontend == "keras" else "momentum=0.1"
        yield msg(
            "let the moving statistics follow: {kind}(..., {faster}), or train longer",
            kind=kind,
            faster=faster,
        )
    else:
        if frontend == "keras":
            yield msg(
                "update the moving statistics: call the model with training=True where it is trained"
            )
        yield msg(
            "the moving statistics mix data of different kinds, or single batches differ from them: larger, "
            "shuffled batches, or GroupNorm/LayerNorm instead"
        )
