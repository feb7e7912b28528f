"""EG958 class weights the wrong way round: the frequent class is given the larger weight.

What it finds: a `class_weight`, or PyTorch's `weight=` or `pos_weight=`, that makes the most frequent class
count more than the rarest one, per sample.

Why it matters: weights are there to make up for rare classes. Counts in the place of their inverse make the
imbalance the square of what it was, and the model gives everything the frequent class. They multiply the loss
by the size of the data set, too.

How it decides: by the labels that `fit` is given, or that a loss of PyTorch's meets in its first calls under
`run`, 200 at least: the most frequent class is twice as frequent as the rarest one, or more, and its weight is
more than twice as large. (A `WeightedRandomSampler` is seen as what it makes of the labels.)

What to do: the inverse of the counts, `len(y) / (classes * count)`, whose mean is 1; scikit-learn's
`compute_class_weight("balanced", ...)`.

References: scikit-learn, compute_class_weight; King & Zeng 2001, Logistic regression in rare events data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG958"
FACT = "weights_reversed"
_FIT = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
y = (rng.random(400) < 0.15).astype("int32")
x = (rng.normal(size=(400, 8)) + 1.5 * y[:, None]).astype("float32")
model = keras.Sequential([
    keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1, activation="sigmoid"),
])
model.compile(keras.optimizers.Adam(1e-2), "binary_crossentropy")
model.fit(x, y, batch_size=32, epochs=4, class_weight={weights}, verbose=0)
"""


_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
y = (torch.rand(400) < 0.15).long()
x = torch.randn(400, 8) + 1.5 * y[:, None]
counts = torch.bincount(y).float()
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, {units}))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
criterion = {criterion}
for epoch in range(4):
    for rows in torch.randperm(400).split(32):
        loss = criterion({given})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


def _classes(weight: str) -> Program:
    criterion = f"nn.CrossEntropyLoss(weight={weight})"
    source = _LOOP.format(units=2, criterion=criterion, given="model(x[rows]), y[rows]")
    return Program("torch", source)


def _positive(weight: str) -> Program:
    criterion = f"nn.BCEWithLogitsLoss(pos_weight={weight})"
    given = "model(x[rows])[:, 0], y[rows].float()"
    return Program("torch", _LOOP.format(units=1, criterion=criterion, given=given))


def _fit(weights: str) -> tuple[Program, ...]:
    source = _FIT.format(weights=weights)
    return Program("keras", source), Program("keras", source, "check")


SICK = (
    *_fit("{0: 340, 1: 60}"),
    _classes("counts / counts.sum()"),
    _positive("counts[1] / counts[0]"),
)
HEALTHY = (
    *_fit("{0: 0.59, 1: 3.33}"),
    *_fit("None"),
    _classes("len(y) / (2 * counts)"),
    _classes("None"),
    _positive("counts[0] / counts[1]"),
)

_KERAS = (
    msg(
        "weigh by the inverse of the counts: class_weight = {c: len(y) / (classes * count[c])}, "
        'or compute_class_weight("balanced", classes=np.unique(y), y=y)'
    ),
)
_TORCH = (
    msg(
        "weigh by the inverse of the counts: counts = torch.bincount(y); weight = len(y) / (len(counts) "
        "* counts); "
        "for BCEWithLogitsLoss pos_weight = negatives / positives"
    ),
)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire on each fit."""
    for fact in facts:
        values = fact.values
        name = "class_weight" if frontend == "keras" else "weight="
        evidence = [] if fact.where is None else [str(fact.where)]
        evidence.append(
            msg(
                "class {most}: {most_count} samples, weight {most_weight:.4g}; "
                "class {least}: {least_count} samples, weight {least_weight:.4g}",
                most=values["most"],
                most_count=values["most_count"],
                most_weight=values["most_weight"],
                least=values["least"],
                least_count=values["least_count"],
                least_weight=values["least_weight"],
            )
        )
        yield Finding(
            CODE,
            msg(
                "{name} gives the frequent class {most} the larger weight",
                name=name,
                most=values["most"],
            ),
            Cause.LOSS_HEAD,
            Severity.ERROR,
            evidence=tuple(evidence),
            advice=_KERAS if frontend == "keras" else _TORCH,
            where=fact.where,
            unhealthy=True,
            mistake=True,
        )
