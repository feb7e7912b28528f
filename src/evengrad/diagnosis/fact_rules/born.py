"""EG104 born: the operation in which a NaN or an infinity began, and the line of the script that it stands in.

What it finds: the first operation whose result is not finite while all that it was given is, going forward,
or backwards, in its gradient; or the data, targets, weights or constant that were not finite already.

Why it matters: one NaN reaches every weight within one step, and what shows it (the loss, the layer before it)
is seldom where it began.

How it decides: exactly; there is no threshold. The script is run again from its start, in a process of its own,
up to the step that went wrong, and every operation of that step is looked at. An infinity that a mask puts in
on purpose counts only where something makes a NaN of it. Where the values had grown beyond 1e15 while the loss
rose (a measured choice), the operation is only the last link: the learning rate is named instead.

What to do: change the named line; the advice has the code for this operation.

References: pytorch#23395; pytorch#23425; torch.autograd.detect_anomaly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from evengrad.diagnosis import operations
from evengrad.diagnosis.examples.program import Program
from evengrad.diagnosis.operands import high, largest_input, low, raw, zeros
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.probe import Frontend
from evengrad.values.wording import percent

CODE = "EG104"
FACT = "born"

_TORCH = """
import torch
torch.manual_seed(0)
x = torch.randn(64, 8)
y = x[:, :1] * 2
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(20):
    optimizer.zero_grad()
    error = model(x) - y
    loss = {loss}
    loss.backward()
    optimizer.step()
"""


def _torch(loss: str) -> Program:
    return Program("torch", _TORCH.format(loss=loss))


_KERAS = """
import keras
import numpy as np
from keras import ops
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = x[:, :1] * 2
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1)])

def loss(target, output):
    error = output - target
    return {loss}

model.compile(keras.optimizers.SGD(0.01), loss)
model.fit(x, y, batch_size=32, epochs=4, verbose=0)
"""


def _keras(loss: str) -> Program:
    return Program("keras", _KERAS.format(loss=loss))


SICK = (
    _keras("ops.mean(ops.log(ops.relu(error)))"),
    _torch("torch.where(error.abs() > 1, torch.sqrt(error.abs() - 0.5), error**2).mean()"),
    _torch("torch.log(torch.relu(error)).mean()"),
)
HEALTHY = (
    _keras("ops.mean(ops.sqrt(ops.square(error) + 1e-6))"),
    _torch("torch.sqrt(error**2 + 1e-6).mean()"),
    _torch("torch.where(error.abs() > 1, torch.sqrt(error.abs().clamp(min=0.5)), error**2).mean()"),
)

_ROLES = {
    "batch": "the data",
    "targets": "the targets",
    "weights": "the weights",
    "constant": "a constant of the model",
    "activation": "an activation",
    "output": "the model's output",
}
_GIVEN = {
    "batch": Cause.BAD_BATCH,
    "targets": Cause.BAD_BATCH,
    "weights": Cause.INITIALISATION,
    "constant": Cause.ARCHITECTURE,
}


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Name the first one, unless it is the end of a divergence."""
    fact = facts[0]
    if fact.values.get("grew"):
        return
    yield _given(fact) if fact.values.get("direction") == "given" else _operation(fact, frontend)


def _given(fact: Fact) -> Finding:
    role = str(fact.values.get("role"))
    name = fact.values.get("operand") or fact.values.get("name")
    what = _ROLES.get(role, "a tensor") + (f" {name}" if name else "")
    share = fact.values.get("share")
    part = f"{percent(share)} of {what}" if share else what
    place = f" ({fact.where.file}:{fact.where.line})" if fact.where else ""
    return Finding(
        CODE,
        f"{part} {'are' if role in ('targets', 'weights') else 'is'} {_what(fact)} already{place}",
        _GIVEN.get(role, Cause.BAD_BATCH),
        Severity.ERROR,
        layers=(str(fact.values["name"]),) if fact.values.get("name") else (),
        evidence=(*_line(fact), *_discarded(fact), *_at(fact)),
        advice=(*_masked(fact, role, str(name or "x")), *_repair(fact, role, str(name or "x"))),
        symptom=Symptom.NOT_FINITE,
        unhealthy=True,
        where=fact.where,
        mistake=True,
    )


def _operation(fact: Fact, frontend: Frontend) -> Finding:
    call = fact.values.get("call") or fact.values.get("operation")
    place = f" at {fact.where.file}:{fact.where.line}" if fact.where else ""
    way = ", backward" if fact.values.get("direction") == "backward" else ""
    reason = operations.why(fact)
    return Finding(
        CODE,
        f"{_what(fact)} is born in {call}{place}{way}: {reason}",
        operations.cause(fact),
        Severity.ERROR,
        layers=(str(fact.values["name"]),) if fact.values.get("name") else (),
        evidence=(*_line(fact), *_range(fact), *_at(fact)),
        advice=(*operations.advice(fact, frontend), *_normalise(fact)),
        symptom=Symptom.NOT_FINITE,
        unhealthy=True,
        where=fact.where,
        mistake=True,
    )


def _normalise(fact: Fact) -> Iterable[str]:
    if raw(fact):
        yield (
            f"normalise the inputs, which go up to {largest_input(fact):.4g}: subtract their mean and divide "
            "by their standard deviation"
        )


def _what(fact: Fact) -> str:
    return {"inf": "an infinity"}.get(str(fact.values.get("what")), "NaN")


def _line(fact: Fact) -> tuple[str, ...]:
    return () if fact.where is None else (str(fact.where),)


def _range(fact: Fact) -> Iterable[str]:
    """What the operation was given."""
    if math.isnan(low(fact)):
        return
    whose = fact.values.get("operand") or "its operand"
    if fact.values.get("operation") == "update":
        whose = f"the gradient of {fact.values.get('name') or 'a weight'}"
    role = _ROLES.get(str(fact.values.get("role")))
    own = f" ({role})" if role and not whose.startswith("the gradient") else ""
    none = f", {percent(zeros(fact))} of it exactly 0" if zeros(fact) else ""
    infinite = fact.values.get("infinite")
    masked = f", {percent(infinite)} of it infinite" if infinite else ""
    yield f"{whose}{own} goes from {low(fact):.4g} to {high(fact):.4g}{none}{masked}"
    yield from _discarded(fact)


def _discarded(fact: Fact) -> Iterable[str]:
    if fact.values.get("hidden"):
        yield "the forward value is discarded there by a where or a mask, the gradient is not"


def _masked(fact: Fact, role: str, name: str) -> Iterable[str]:
    if fact.values.get("hidden") and role == "targets":
        yield (
            f"mask before the loss, not after it: 0 * NaN is NaN; known = isfinite({name}), then the loss of "
            f"output[known] and {name}[known]"
        )


def _at(fact: Fact) -> tuple[str, ...]:
    if fact.step is None:
        return ()
    share = fact.values.get("share")
    of = ""
    if share:
        whose = "gradient" if fact.values.get("direction") == "backward" else "result"
        of = f": {percent(share)} of the {whose}"
    return (f"seen in step {fact.step}{of}, by running the script again up to it",)


def _repair(fact: Fact, role: str, name: str) -> tuple[str, ...]:
    if role == "weights":
        return (
            "initialise these weights again; a checkpoint with NaN in it cannot be trained on",
            "where they are vectors divided by their norm: a row of zeros gives NaN; divide by max(norm, 1e-8)",
        )
    if role == "constant":
        return (f"make {name} finite where it is computed: guard its division, root or logarithm",)
    first: tuple[str, ...] = ()
    if _what(fact) == "an infinity":
        first = (
            "an infinity in the data is a logarithm of 0 or a division by 0: take log1p, or drop the zeros",
        )
    return (
        *first,
        f"drop or repair the rows of {name} that hold NaN or inf before training (np.isfinite, dropna, "
        "nan_to_num), or mask them out of the loss",
        "where it is normalised: a constant column has a standard deviation of 0; divide by (std + 1e-8)",
    )
