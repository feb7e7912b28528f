"""EG958 class weights the wrong way round: the frequent class is given the larger weight.

What it finds: a `class_weight` that makes the most frequent class count more than the rarest one, per sample.

Why it matters: weights are there to make up for rare classes. Counts in the place of their inverse make the
imbalance the square of what it was, and the model gives everything the frequent class. They multiply the loss
by the size of the data set, too.

How it decides: by the labels that `fit` is given: the most frequent class is twice as frequent as the rarest
one, or more, and its weight is more than twice as large.

What to do: the inverse of the counts, `len(y) / (classes * count)`, whose mean is 1; scikit-learn's
`compute_class_weight("balanced", ...)`.

Keras alone: PyTorch's losses are given weights without the labels of all data.

References: scikit-learn, compute_class_weight; King & Zeng 2001, Logistic regression in rare events data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
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


def _fit(weights: str) -> tuple[Program, ...]:
    source = _FIT.format(weights=weights)
    return Program("keras", source), Program("keras", source, "check")


SICK = _fit("{0: 340, 1: 60}")
HEALTHY = (*_fit("{0: 0.59, 1: 3.33}"), *_fit("None"))


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire on each fit."""
    for fact in facts:
        values = fact.values
        evidence = [] if fact.where is None else [str(fact.where)]
        evidence.append(
            f"class {values['most']}: {values['most_count']} samples, weight {values['most_weight']:.4g}; "
            f"class {values['least']}: {values['least_count']} samples, weight {values['least_weight']:.4g}"
        )
        yield Finding(
            CODE,
            f"class_weight gives the frequent class {values['most']} the larger weight",
            Cause.LOSS_HEAD,
            Severity.ERROR,
            evidence=tuple(evidence),
            advice=(
                "weigh by the inverse of the counts: class_weight = {c: len(y) / (classes * count[c])}, "
                'or compute_class_weight("balanced", classes=np.unique(y), y=y)',
            ),
            where=fact.where,
            unhealthy=True,
            mistake=True,
        )
