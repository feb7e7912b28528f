"""EG932 softmax that normalises the wrong thing: over one unit it is always 1, over the batch it mixes samples.

What it finds: a softmax, or a cross-entropy, over an axis of one element in the loss; a softmax over the
samples of a batch in front of a loss.

Why it matters: one element's share is 1 whatever it is, and the gradient of that is exactly 0: nothing behind
it trains. Over the batch the samples compete with one another instead of the classes.

How it decides: exactly. For one element: from the shape of what the softmax is given, where it becomes the loss
and weighs nothing else. For the batch: the shares of each class sum to 1 over the samples, and those of the
samples do not.

What to do: one unit for yes and no takes a sigmoid and a binary cross-entropy; classes take one unit each, and
a softmax over their axis, the last one.

References: torch.nn.BCEWithLogitsLoss; keras.losses.BinaryCrossentropy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG932"
FACT = "one_unit_softmax"

_TORCH = """\
import torch
import torch.nn.functional as F
torch.manual_seed(0)
x = torch.randn(64, 4)
yes = (x[:, :1] > 0).float()
kind = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, {units}))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(20):
    optimizer.zero_grad()
    out = model(x)
    loss = {loss}
    loss.backward()
    optimizer.step()
"""


def _torch(loss: str, units: int = 1) -> tuple[Program, ...]:
    source = _TORCH.format(loss=loss, units=units)
    return Program("torch", source), Program("torch", source, "check")


_KERAS = """\
import keras
import numpy as np
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
yes = (x[:, :1] > 0).astype("float32")
kind = (x[:, 0] > 0).astype("int32") + (x[:, 1] > 0)
model = keras.Sequential([
    keras.Input((4,)),
    keras.layers.Dense(16, activation="relu"),
    keras.layers.Dense({units}, activation="{head}"),
])
model.compile(keras.optimizers.Adam(3e-3), "{loss}")
model.fit(x, {targets}, batch_size=16, epochs=5, verbose=0)
"""


def _keras(
    units: int, head: str, loss: str = "binary_crossentropy", targets: str = "yes"
) -> tuple[Program, ...]:
    source = _KERAS.format(units=units, head=head, loss=loss, targets=targets)
    return Program("keras", source), Program("keras", source, "check")


SICK = (
    *_keras(1, "softmax"),
    *_torch("F.binary_cross_entropy(F.softmax(out, dim=1), yes)"),
    *_torch("F.mse_loss(torch.softmax(out, dim=-1).squeeze(1), yes.squeeze(1))"),
    *_torch("((out.softmax(1) - yes) ** 2).mean()"),
    *_torch("F.cross_entropy(out, torch.zeros(64, dtype=torch.long))"),
    *_torch("F.nll_loss(F.log_softmax(out, dim=0), kind)", 3),
)
HEALTHY = (
    *_keras(1, "sigmoid"),
    *_keras(3, "softmax", "sparse_categorical_crossentropy", "kind"),
    *_torch("F.binary_cross_entropy(torch.sigmoid(out), yes)"),
    *_torch("F.cross_entropy(out, kind)", 3),
    *_torch("F.nll_loss(F.log_softmax(out, dim=1), kind)", 3),
    *_torch("F.mse_loss(out[:, 1:] * out[:, :1].softmax(1), yes)", 2),
)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """One finding a line."""
    for fact in facts:
        title, why, advice = _one(fact, frontend) if _is_one(fact) else _batch(fact, frontend)
        yield Finding(
            CODE,
            title,
            Cause.LOSS_HEAD,
            Severity.ERROR,
            symptom=Symptom.UNFIT_HEAD,
            evidence=(*([str(fact.where)] if fact.where else []), why),
            advice=(advice,),
            where=fact.where,
            mistake=True,
        )


def _is_one(fact: Fact) -> bool:
    return bool(fact.values["problem"] == "one")


def _one(fact: Fact, frontend: Frontend) -> tuple[str, str, str]:
    v = fact.values
    advice = msg(
        "for yes and no keep one unit, leave the softmax out and use nn.BCEWithLogitsLoss (or a sigmoid); for "
        "classes give the last layer one unit a class"
    )
    if frontend == "keras":
        advice = msg(
            'for yes and no: Dense(1, activation="sigmoid") and "binary_crossentropy"; for classes give the '
            "last layer one unit a class"
        )
    name = (
        msg("the softmax of cross_entropy") if v["function"] == "cross_entropy" else v["function"]
    )
    always = "0" if v["function"] in ("log_softmax", "cross_entropy") else "1"
    title = msg(
        "{name} over one unit is always {always}: its gradient is 0, and nothing trains",
        name=name,
        always=always,
    )
    return (
        title,
        msg(
            "its input has the shape {shape}, and axis {axis} has one element",
            shape=tuple(v["shape"]),
            axis=v["axis"],
        ),
        advice,
    )


def _batch(fact: Fact, frontend: Frontend) -> tuple[str, str, str]:
    v = fact.values
    batch, classes = v["shape"]
    title = msg(
        "the {function} normalises over the batch, axis 0, not over the classes",
        function=v["function"],
    )
    why = msg(
        "in the shape ({batch}, {classes}) each column sums to 1 over the {batch} samples, and no row does",
        batch=batch,
        classes=classes,
    )
    word = "axis" if frontend == "keras" else "dim"
    return title, why, msg("take it over the classes: {word}=-1 (here {word}=1)", word=word)
