"""EG952 evaluated on other inputs: what the model is given in evaluation mode has another scale.

What it finds: inputs in evaluation mode whose mean lies more than four standard deviations from the training's,
or whose standard deviation is more than four times as large, or as small.

Why it matters: a network knows what it was trained on. Test data that miss the normalisation of the training
data, or get it twice, or by other statistics, are answered by guessing, while the training looks perfect.

How it decides: by the first 16 calls of the outermost model in each mode, of 64 samples or more each, where
both have the same shape; in Keras by the arrays that `fit` is given, with its `validation_data`, and those of
`evaluate` and `predict`. The four are a measured choice: crops, noise and other augmentation stay far below.

What to do: send both through the same preprocessing, with the mean and standard deviation of the training data.

References: scikit-learn, common pitfalls: inconsistent preprocessing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG952"
FACT = "inputs_apart"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = 50 + 20 * torch.randn(256, 8)
y = (x[:, 0] > 50).long()
model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
mean, std = x.mean(0), x.std(0)
for epoch in range(6):
    model.train()
    for rows in torch.randperm(256).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model({trained}), y[rows]).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print((model({evaluated}).argmax(1) == y).float().mean())
"""
_SAME = "(x - mean) / std"


_FIT = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(50, 20, size=(256, 8)).astype("float32")
y = (x[:, 0] > 50).astype("int32")
trained = (x - x.mean(0)) / x.std(0)
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="tanh"), keras.layers.Dense(2)])
model.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(trained, y, batch_size=32, epochs=6, verbose=0{validation})
{then}
"""


def _loop(trained: str, evaluated: str) -> Program:
    return Program("torch", _LOOP.format(trained=trained, evaluated=evaluated))


def _fit(validation: str = "", then: str = "", verb: str = "run") -> Program:
    source = _FIT.format(validation=validation, then=then)
    return Program("keras", source, "check" if verb == "check" else "run")


_ROWS = "(x[rows] - mean) / std"
_RAW = ", validation_data=(x[::2], y[::2])"
_ALIKE = ", validation_data=(trained[::2], y[::2])"
SICK = (
    _loop(_ROWS, "x"),
    _loop(_ROWS, "(x - mean) / std / 255"),
    _fit(_RAW, verb="check"),
    _fit(_RAW),
    _fit(then="print(model.evaluate(x, y, verbose=0))"),
    _fit(then="print(model.predict(x, verbose=0).argmax(1))"),
)
HEALTHY = (
    _fit(_ALIKE, verb="check"),
    _fit(_ALIKE, "print(model.evaluate(trained, y, verbose=0), model.predict(x[:3]))"),
    _loop(_ROWS, _SAME),
    _loop(_ROWS + " + 0.5 * torch.randn(32, 8)", _SAME),
    _loop(_ROWS, "((x - mean) / std)[:1].repeat(256, 1)"),
)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire on what the whole run showed."""
    for fact in facts:
        values = fact.values
        trained = msg(
            "mean {mean:.3g}, standard deviation {std:.3g}", mean=values["mean"], std=values["std"]
        )
        seen = msg(
            "mean {evaluated_mean:.3g}, standard deviation {evaluated_std:.3g}",
            evaluated_mean=values["evaluated_mean"],
            evaluated_std=values["evaluated_std"],
        )
        place = () if fact.where is None else (str(fact.where),)
        yield Finding(
            CODE,
            msg("the inputs in evaluation mode are not scaled like those in training"),
            Cause.INPUT_DATA,
            Severity.ERROR,
            evidence=(
                *place,
                msg("in training: {trained}", trained=trained),
                msg("in evaluation: {seen}", seen=seen),
            ),
            advice=(
                msg(
                    "send the evaluation data through the same preprocessing (transform, "
                    "normalisation), with the "
                    "mean and standard deviation of the training data"
                ),
                *_more(frontend),
            ),
            where=fact.where,
            unhealthy=True,
            mistake=True,
        )


def _more(frontend: Frontend) -> Iterable[str]:
    if frontend == "keras":
        yield msg(
            "or put it into the model: a Normalization layer (layer.adapt(x_train)) or Rescaling(1/255) scales "
            "whatever fit, evaluate and predict are given"
        )
