"""EG916 rate gone: the learning rate has fallen to almost nothing long before the training was over.

What it finds: a rate below a hundredth of its highest value for more than half of the steps, while the loss was
still high or still falling; a rate of 0 throughout.

Why it matters: those steps move nothing: they are waiting. It is what comes of a schedule that is meant for
epochs and stepped with every batch: `StepLR(10)` then divides the rate by ten every ten batches.

How it decides: from the whole run's rates and losses. A rate that falls to zero at the end, as a cosine's, is
none; nor is one that falls after the loss has come to rest: there must have been fewer than 50 steps at a high
rate and a loss that ends above half of where it began, or a loss that fell while the rate was high and would
have fallen by a fifth more in the steps that were lost. The hundredth, the half, the 50 and the fifth are
measured choices.

What to do: step the schedule once an epoch, behind the loop over the batches; or count its length in batches.

References: PyTorch documentation, torch.optim: how to adjust learning rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend
from evengrad.values.wording import percent

CODE = "EG916"
FACT = "rate_gone"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(320, 8)
y = (x[:, 0] * x[:, 1] > 0).long()
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.SGD(model.parameters(), lr={rate}, momentum=0.9)
scheduler = torch.optim.lr_scheduler.{schedule}
for epoch in range(15):
    for start in range(0, 320, 32):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[start:start + 32]), y[start:start + 32])
        loss.backward()
        optimizer.step()
        {batch}
    {epoch}
"""


def _loop(schedule: str, where: str = "epoch", rate: float = 0.1) -> Program:
    places = {"batch": "pass", "epoch": "pass"}
    if where in places:
        places[where] = "scheduler.step()"
    elif where == "loss":
        places["epoch"] = "scheduler.step(loss.item())"
    return Program("torch", _LOOP.format(schedule=schedule, rate=rate, **places))


_KERAS = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
x = np.random.randn(320, 8).astype("float32")
y = (x[:, 0] * x[:, 1] > 0).astype("float32")
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(1)])
rate = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps={steps}, decay_rate=0.1)
model.compile(keras.optimizers.SGD(rate), keras.losses.BinaryCrossentropy(from_logits=True))
model.fit(x, y, batch_size=32, epochs=15, verbose=0)
"""
SICK = (
    _loop("StepLR(optimizer, 5)", "batch"),
    _loop("ExponentialLR(optimizer, 0.8)", "batch"),
    _loop("StepLR(optimizer, 5)", "epoch", rate=0.0),
    _loop("LambdaLR(optimizer, lambda epoch: epoch // 30)"),
    _loop("LambdaLR(optimizer, lambda step: min(1, step / 20))", "nowhere"),
    _loop('ReduceLROnPlateau(optimizer, "max", patience=0)', "loss"),
    Program("keras", _KERAS.format(steps=5)),
)
HEALTHY = (
    _loop("StepLR(optimizer, 5)"),
    _loop("CosineAnnealingLR(optimizer, 15)"),
    _loop("CosineAnnealingLR(optimizer, 150)", "batch"),
    _loop("OneCycleLR(optimizer, 0.2, total_steps=151)", "batch"),
    _loop("LinearLR(optimizer, 0.01, total_iters=20)", "batch"),
    Program("keras", _KERAS.format(steps=150)),
)


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """Fire on what the whole run showed."""
    for fact in facts:
        values = fact.values
        evidence = (
            [msg("{where} changes it with every step", where=fact.where)] if fact.where else []
        )
        if values["zero"]:
            title = msg(
                "the learning rate is 0 in all of {steps:,} steps: nothing moves",
                steps=values["steps"],
            )
            if values.get("given"):
                kind = values.get("kind", msg("a schedule"))
                evidence.append(
                    msg(
                        "{kind} multiplies the {given:g} that the optimizer was given by 0",
                        kind=kind,
                        given=values["given"],
                    )
                )
                if values.get("stepped") == 0:
                    evidence.append(
                        msg(
                            "{scheduler}.step() is never called: it stays at its first value",
                            scheduler=values["scheduler"],
                        )
                    )
        else:
            lost = 1 - values["since"] / values["steps"]
            title = msg(
                "the learning rate is gone since step {since:,}: {peak:.3g} at its peak, "
                "{now:.2g} at the end",
                since=values["since"],
                peak=values["peak"],
                now=values["now"],
            )
            evidence += [
                msg(
                    "{lost} of the steps were made at less than a hundredth of the peak",
                    lost=percent(lost),
                ),
                msg(
                    "the loss was {first_loss:.4g} at the start and ends at {loss:.4g}",
                    first_loss=values["first_loss"],
                    loss=values["loss"],
                ),
            ]
            if "mode" in values:
                evidence.append(
                    msg(
                        "ReduceLROnPlateau(mode={mode!r}, patience={patience}) multiplies it "
                        "by {factor:g} whenever it sees no better value",
                        mode=values["mode"],
                        patience=values["patience"],
                        factor=values["factor"],
                    )
                )
        yield Finding(
            CODE,
            title,
            Cause.LEARNING_RATE,
            Severity.ERROR,
            evidence=tuple(evidence),
            advice=tuple(_advice(fact, frontend)),
            unhealthy=True,
            where=fact.where,
            mistake=True,
        )


def _advice(fact: Fact, frontend: Frontend) -> Iterable[str]:
    name = fact.values.get("scheduler", "scheduler")
    if fact.values["zero"] and fact.values.get("stepped") == 0:
        yield msg(
            "call {name}.step() behind the optimizer's step: a warm-up that begins at 0 rises by it alone",
            name=name,
        )
    elif fact.values["zero"] and fact.values.get("given"):
        yield msg(
            "let {kind} begin above 0 and rise within these {steps:,} "
            "steps: a factor of (step + 1) / warmup; an integer division (//) gives 0 until it is reached",
            kind=fact.values.get("kind", name),
            steps=fact.values["steps"],
        )
    elif fact.values["zero"]:
        yield msg("set a learning rate above 0, such as 1e-3 for Adam")
    elif "mode" in fact.values:
        yield from _plateau(fact.values)
    elif frontend == "torch" and "scheduler" not in fact.values:
        yield msg(
            "lower the rate once an epoch, behind the loop over the batches, not with every batch"
        )
    elif frontend == "keras":
        yield msg(
            "count decay_steps in batches (epochs times len(x) / batch_size), so that the rate lasts"
        )
    else:
        yield msg(
            "call {name}.step() once an epoch, behind the loop over the batches, not with every batch",
            name=name,
        )
        kind = fact.values.get("kind", msg("the schedule"))
        yield msg("or give {kind} its length in batches (step_size, T_max, gamma)", kind=kind)


def _plateau(values: Mapping[str, Any]) -> Iterable[str]:
    if values["mode"] == "max":
        yield msg(
            'mode="max" waits for a value that rises: take mode="min" for a loss, or step(accuracy)'
        )
    else:
        yield msg(
            'mode="min" waits for a value that falls: take mode="max" for an accuracy, or step(loss)'
        )
    yield msg("or a larger patience, a factor nearer to 1, and a min_lr")
