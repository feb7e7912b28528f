"""EG918 update not finite: the gradients are finite, and what the optimizer makes of them is not.

What it finds: a step of an optimizer that would have put NaN or infinities into the weights though no gradient
had any.

Why it matters: Adam, AdamW, RMSprop and Adagrad divide by the root of a mean of squares, and their epsilon is
what keeps that from being zero. In float16 the smallest number is 6e-8: the usual epsilon of 1e-8 is 0, and so
is the square of any gradient below 2e-4. The first step divides by zero, and every weight is lost.

How it decides: exactly: weights and state are kept before each step of an optimizer whose weights are in
float16, or whose epsilon is 0 in their precision; after it they are looked at, and put back bit for bit where
the guard is on.

Under Keras that is `set_floatx("float16")` or layers of `dtype="float16"`; its default epsilon of 1e-7 is the
smallest number that float16 has, one of 1e-8 is 0.

What to do: keep the weights in float32 and use `torch.autocast` or Keras' policy "mixed_float16" for half
precision, which is what they are for; or give the optimizer `eps=1e-4`, which float16 can hold.

References: pytorch#8860; Micikevicius et al. 2018 (1710.03740), master weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Frontend
from evengrad.values.wording import layers

CODE = "EG918"
FACT = "update_not_finite"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 8).half()
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)).half()
optimizer = torch.optim.{optimizer}
for step in range(12):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x).float(), y)
    loss.backward()
    try:
        optimizer.step()
    except Exception:
        assert all(p.isfinite().all() for p in model.parameters())
        break
"""


def _loop(optimizer: str, verb: str = "run") -> Program:
    return Program(
        "torch", _LOOP.format(optimizer=optimizer), "check" if verb == "check" else "run"
    )


_KERAS = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float16")
x[:, 3] = 0
y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential([
    keras.Input((8,), dtype="float16"),
    keras.layers.Dense(16, activation="relu", dtype="float16"),
    keras.layers.Dense(2, dtype="float16"),
])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.{optimizer}, loss)
try:
    model.fit(x, y, batch_size=64, epochs=12, verbose=0)
except Exception:
    assert all(np.isfinite(w).all() for w in model.get_weights())
"""


def _keras(optimizer: str, verb: str = "run") -> Program:
    return Program(
        "keras", _KERAS.format(optimizer=optimizer), "check" if verb == "check" else "run"
    )


SICK = (
    _keras("Adam(1e-3, epsilon=1e-8)"),
    _keras("Adam(1e-3, epsilon=1e-8)", "check"),
    _loop("Adam(model.parameters(), lr=1e-3)"),
    _loop("Adam(model.parameters(), lr=1e-3)", "check"),
    _loop("AdamW(model.parameters(), lr=1e-3)"),
    _loop("RMSprop(model.parameters(), lr=1e-3)"),
)
HEALTHY = (
    _keras("Adam(1e-3, epsilon=1e-4)"),
    _keras("SGD(1e-2)"),
    _loop("Adam(model.parameters(), lr=1e-3, eps=1e-4)"),
    _loop("SGD(model.parameters(), lr=1e-2)"),
)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire on the first such update."""
    for fact in facts[:1]:
        values = fact.values
        kind, dtype, eps = values["optimizer"], values["dtype"], values["eps"]
        word = "epsilon" if frontend == "keras" else "eps"
        zero = (
            msg("{word}={eps:g} is 0 in {dtype}", word=word, eps=eps, dtype=dtype)
            if values["vanishes"]
            else msg("weights in {dtype}", dtype=dtype)
        )
        where = msg("the first step") if fact.step == 0 else msg("step {step}", step=fact.step)
        yield Finding(
            CODE,
            msg(
                "{kind}'s update in {where} is not finite though the gradients are: {zero}",
                kind=kind,
                where=where,
                zero=zero,
            ),
            Cause.PRECISION,
            Severity.ERROR,
            layers=tuple(dict.fromkeys(n.rpartition(".")[0] or n for n in values["names"])),
            evidence=tuple(_evidence(fact, frontend)),
            advice=tuple(_advice(fact, frontend)),
            symptom=Symptom.NOT_FINITE,
            unhealthy=True,
            where=fact.where,
            mistake=True,
        )


def _evidence(fact: Fact, frontend: Frontend) -> Iterable[str]:
    values = fact.values
    kind = values["optimizer"]
    place = fact.where or kind + (".step()" if frontend == "torch" else ".apply()")
    whose = msg("the weights")
    if values["names"]:
        whose = msg(
            "{tensors} of {of} tensors ({names})",
            tensors=values["tensors"],
            of=values["of"],
            names=layers(values["names"]),
        )
    yield msg("{place} would put NaN or infinities into {whose}", place=place, whose=whose)
    if values["eps"] is not None:
        yield msg(
            "{kind} divides by a root of squared gradients plus eps: squares below 6e-8 are 0 in float16",
            kind=kind,
        )
    if values["guarded"] is None:
        yield msg("seen on a copy of the optimizer: nothing was changed")
    elif values["guarded"]:
        yield msg("the step was taken back: weights and state are as they were before it")
    else:
        yield msg("there was no guard: the step reached the weights")


def _advice(fact: Fact, frontend: Frontend) -> Iterable[str]:
    kind, dtype = fact.values["optimizer"], fact.values["dtype"]
    if frontend == "torch":
        yield msg(
            "keep the weights in float32 and use torch.autocast with a GradScaler instead of .half()"
        )
        yield msg(
            "or give it an eps that {dtype} can hold: {kind}(..., eps=1e-4)", dtype=dtype, kind=kind
        )
        return
    yield msg(
        'keep the weights in float32: keras.mixed_precision.set_global_policy("mixed_float16") instead of '
        'set_floatx("float16") or dtype="float16"'
    )
    yield msg(
        "or give it an epsilon that {dtype} can hold: {kind}(..., epsilon=1e-4)",
        dtype=dtype,
        kind=kind,
    )
