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
from evengrad.values.message import msg
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
    "batch": msg("the data"),
    "targets": msg("the targets"),
    "weights": msg("the weights"),
    "constant": msg("a constant of the model"),
    "activation": msg("an activation"),
    "output": msg("the model's output"),
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
    what = _ROLES.get(role, msg("a tensor")) + (f" {name}" if name else "")
    share = fact.values.get("share")
    part = msg("{share} of {what}", share=percent(share), what=what) if share else what
    place = f" ({fact.where.file}:{fact.where.line})" if fact.where else ""
    return Finding(
        CODE,
        msg("{part} are {what} already{place}", part=part, what=_what(fact), place=place)
        if role in ("targets", "weights")
        else msg("{part} is {what} already{place}", part=part, what=_what(fact), place=place),
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
    place = (
        msg(" at {file}:{line}", file=fact.where.file, line=fact.where.line) if fact.where else ""
    )
    way = msg(", backward") if fact.values.get("direction") == "backward" else ""
    reason = operations.why(fact)
    return Finding(
        CODE,
        msg(
            "{what} is born in {call}{place}{way}: {reason}",
            what=_what(fact),
            call=call,
            place=place,
            way=way,
            reason=reason,
        ),
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
        yield msg(
            "normalise the inputs, which go up to {largest_input:.4g}: subtract their mean and divide "
            "by their standard deviation",
            largest_input=largest_input(fact),
        )


def _what(fact: Fact) -> str:
    return msg("an infinity") if fact.values.get("what") == "inf" else "NaN"


def _line(fact: Fact) -> tuple[str, ...]:
    return () if fact.where is None else (str(fact.where),)


def _range(fact: Fact) -> Iterable[str]:
    """What the operation was given."""
    if math.isnan(low(fact)):
        return
    whose = fact.values.get("operand") or msg("its operand")
    if fact.values.get("operation") == "update":
        whose = msg("the gradient of {name}", name=fact.values.get("name") or msg("a weight"))
    role = _ROLES.get(str(fact.values.get("role")))
    own = msg(" ({role})", role=role) if role and not whose.startswith("the gradient") else ""
    none = msg(", {zeros} of it exactly 0", zeros=percent(zeros(fact))) if zeros(fact) else ""
    infinite = fact.values.get("infinite")
    masked = msg(", {infinite} of it infinite", infinite=percent(infinite)) if infinite else ""
    yield msg(
        "{whose}{own} goes from {low:.4g} to {high:.4g}{none}{masked}",
        whose=whose,
        own=own,
        low=low(fact),
        high=high(fact),
        none=none,
        masked=masked,
    )
    yield from _discarded(fact)


def _discarded(fact: Fact) -> Iterable[str]:
    if fact.values.get("hidden"):
        yield msg("the forward value is discarded there by a where or a mask, the gradient is not")


def _masked(fact: Fact, role: str, name: str) -> Iterable[str]:
    if fact.values.get("hidden") and role == "targets":
        yield msg(
            "mask before the loss, not after it: 0 * NaN is NaN; known = isfinite({name}), then the loss of "
            "output[known] and {name}[known]",
            name=name,
        )


def _at(fact: Fact) -> tuple[str, ...]:
    if fact.step is None:
        return ()
    share = fact.values.get("share")
    of = ""
    if share:
        whose = msg("gradient") if fact.values.get("direction") == "backward" else msg("result")
        of = msg(": {share} of the {whose}", share=percent(share), whose=whose)
    return (
        msg("seen in step {step}{of}, by running the script again up to it", step=fact.step, of=of),
    )


def _repair(fact: Fact, role: str, name: str) -> tuple[str, ...]:
    if role == "weights":
        return (
            msg("initialise these weights again; a checkpoint with NaN in it cannot be trained on"),
            msg(
                "where they are vectors divided by their norm: a row of zeros gives NaN; divide by "
                "max(norm, 1e-8)"
            ),
        )
    if role == "constant":
        return (
            msg(
                "make {name} finite where it is computed: guard its division, root or logarithm",
                name=name,
            ),
        )
    first: tuple[str, ...] = ()
    if _what(fact) == "an infinity":
        first = (
            msg(
                "an infinity in the data is a logarithm of 0 or a division by 0: take log1p, or drop the zeros"
            ),
        )
    return (
        *first,
        msg(
            "drop or repair the rows of {name} that hold NaN or inf before training (np.isfinite, dropna, "
            "nan_to_num), or mask them out of the loss",
            name=name,
        ),
        msg(
            "where it is normalised: a constant column has a standard deviation of 0; divide by (std + 1e-8)"
        ),
    )
