"""EG954 validated on other classes: the classes of the validation data are not those of the training data.

What it finds: a classification whose validation labels have quite another distribution than those it is
trained on, such as a class that the training never sees.

Why it matters: nobody learns what he is not shown. The training looks perfect, the accuracy in validation is
near 0 or far below chance, and no change of the model helps. The usual reason: data that were read class
after class, of which `validation_split` takes the last part, before anything is shuffled.

How it decides: by the labels that `fit` is given, 32 or more of each: half the sum of the differences of the
classes' shares is above 0.6. (A training set that was balanced on purpose stays below 0.5.)

What to do: shuffle samples and labels together before they are split: one permutation for both, or
scikit-learn's `train_test_split(x, y, stratify=y)`.

Keras alone: PyTorch has no call that is given both.

References: Keras documentation, Model.fit (validation_split: "selected from the last samples, before
shuffling"); keras-team/keras#8346.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend
from evengrad.values.wording import percent

CODE = "EG954"
FACT = "classes_apart"
_FIT = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
y = np.repeat(np.arange(4), 60)
x = (rng.normal(size=(240, 8)) + 3 * np.eye(4)[y] @ rng.normal(size=(4, 8))).astype("float32")
{order}
model = keras.Sequential([
    keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(4, activation="softmax"),
])
model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
model.fit(x, y, batch_size=32, epochs=8, {validation}, verbose=0)
"""
_SHUFFLED = "rows = rng.permutation(240); x, y = x[rows], y[rows]"


def _fit(validation: str, order: str = "") -> tuple[Program, ...]:
    source = _FIT.format(order=order, validation=validation)
    return Program("keras", source), Program("keras", source, "check")


SICK = (
    *_fit("validation_split=0.2"),
    *_fit("validation_data=(a, b)", "a, b, x, y = x[180:], y[180:], x[:180], y[:180]"),
)
HEALTHY = (
    *_fit("validation_split=0.2", _SHUFFLED),
    *_fit("validation_data=(x[::5], y[::5])"),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire on each fit."""
    for fact in facts:
        values = fact.values
        evidence = [] if fact.where is None else [str(fact.where)]
        evidence.append(
            msg(
                "{most} of the validation labels are of one class, which is "
                "{most_trained} of the labels trained on",
                most=percent(values["most"]),
                most_trained=percent(values["most_trained"]),
            )
        )
        if values["split"]:
            evidence.append(
                msg(
                    "validation_split={split:g} takes the last part of the data, before they "
                    "are shuffled",
                    split=values["split"],
                )
                + (msg(": they are sorted by class") if values["ordered"] else "")
            )
        yield Finding(
            CODE,
            msg("the model is validated on other classes than it is trained on"),
            Cause.INPUT_DATA,
            Severity.ERROR,
            evidence=tuple(evidence),
            advice=(
                msg(
                    "shuffle samples and labels together before the split: "
                    "order = np.random.permutation(len(x)); x, y = x[order], y[order]"
                ),
                msg(
                    "or train_test_split(x, y, stratify=y), with validation_data= instead of validation_split="
                ),
            ),
            where=fact.where,
            unhealthy=True,
            mistake=True,
        )
