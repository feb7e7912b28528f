"""EG935 one output's loss drowns another's: their sum trains the one, and the other stays where it began.

What it finds: a loss that is a sum of losses, of which one sends a gradient more than 10,000 times as large as
another's into the weights that both share.

Why it matters: the shared layers follow the large one alone, and the optimizer's step is as large as that one
allows. A target in its raw unit (a price, a count) beside a cross-entropy is the usual case: squared, its
error is 10 or 12 orders of magnitude larger.

How it decides: in a check from the gradient of each loss at the weights that both reach; in a run, which makes
no backward passes of its own, from their values: 10,000 squared, for a squared error's gradient is as the root
of its value. A loss that the script multiplies by a number of its own is small on purpose.

What to do: bring the targets of the large one to a mean of 0 and a deviation of 1, or weigh the losses.

References: Kendall, Gal and Cipolla 2018 (1705.07115); Chen et al. 2018, GradNorm (1711.02257).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG935"
FACT = "output_dominates"

_TORCH = """\
import torch
import torch.nn.functional as F
torch.manual_seed(0)
x = torch.randn(128, 8)
price = {scale} * (x[:, :1] + 0.5)
kind = (x[:, 1] > 0).long()
trunk = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU())
value, classes = torch.nn.Linear(32, 1), torch.nn.Linear(32, 2)
parameters = [*trunk.parameters(), *value.parameters(), *classes.parameters()]
optimizer = torch.optim.Adam(parameters, lr=1e-3)
for step in range(20):
    optimizer.zero_grad()
    h = trunk(x)
    loss = F.mse_loss(value(h), price) + {weight}F.cross_entropy(classes(h), kind)
    loss.backward()
    optimizer.step()
"""


def _torch(scale: float, weight: str = "") -> tuple[Program, ...]:
    source = _TORCH.format(scale=scale, weight=weight)
    return Program("torch", source), Program("torch", source, "check")


_KERAS = """\
import keras
import numpy as np
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
price = {scale} * (x[:, :1] + 0.5)
kind = (x[:, 1] > 0).astype("int32")
given = keras.Input((8,))
h = keras.layers.Dense(32, activation="relu")(given)
ends = [keras.layers.Dense(1)(h), keras.layers.Dense(2, activation="softmax")(h)]
model = keras.Model(given, ends)
model.compile("adam", loss=["mse", "sparse_categorical_crossentropy"]{weights})
model.fit(x, [price, kind], epochs=3, verbose=0)
"""


def _keras(scale: float, weights: str = "") -> tuple[Program, ...]:
    source = _KERAS.format(scale=scale, weights=weights)
    return Program("keras", source), Program("keras", source, "check")


SICK = (*_torch(2e5), *_keras(2e5))
HEALTHY = (
    *_torch(1.0),
    *_torch(10.0),
    *_torch(1.0, "1e-5 * "),
    *_keras(1.0),
    *_keras(1.0, ", loss_weights=[1e-3, 1.0]"),
)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """One finding a sum."""
    for fact in facts:
        large, small = fact.values["large"], fact.values["small"]
        means = "(y - y.mean()) / y.std()" if frontend == "torch" else "(y - mean) / std"
        measured = "gradient" in large and large["gradient"] is not None
        what = (
            msg("at the weights that they share its gradient")
            if measured
            else msg("its value in their sum")
        )
        yield Finding(
            CODE,
            msg(
                "{function} drowns {function2}: {what} is {factor:.1g} times as large",
                function=large["function"],
                function2=small["function"],
                what=what,
                factor=fact.values["factor"],
            ),
            Cause.LOSS_HEAD,
            Severity.ERROR,
            evidence=(_line(large), _line(small)),
            advice=(
                msg(
                    "scale the targets of the large one, {means}, and undo it on the predictions",
                    means=means,
                ),
                msg(
                    "or weigh the losses so that their gradients are of one size: loss = a + w * b "
                    "(Keras: loss_weights=)"
                )
                if frontend == "keras"
                else msg(
                    "or weigh the losses so that their gradients are of one size: loss = a + w * b"
                ),
            ),
            where=fact.where,
            mistake=True,
        )


def _line(term: Mapping[str, Any]) -> str:
    place = f"{term['place']}: " if term["place"] else ""
    norm = (
        ""
        if term["gradient"] is None
        else msg(", gradient norm {gradient:.3g}", gradient=term["gradient"])
    )
    return msg("{place}loss {value:.3g}{norm}", place=place, value=term["value"], norm=norm)
