"""EG934 texts longer than their inputs: CTC has fewer steps than characters to spell.

What it finds: samples of a CTC loss whose network leaves fewer time steps than the text needs, and texts with
the blank's number inside.

Why it matters: there is no way to spell such a text, so that its loss is infinite and its gradient NaN; with
zero_infinity=True it is zero, and the sample teaches nothing. A character with the blank's number can never be
read: a blank is what a reader leaves out.

How it decides: exactly, from the lengths that the loss is given. A text needs a step a character, and one more
between two that are equal. Blanks behind the last character are padding. With zero_infinity it fires where half
of the samples or more are lost: what is lost beside that is small.

What to do: pool less along time, make the inputs longer (wider images, a smaller stride), or leave out the
texts that are too long.

References: Graves et al. 2006, Connectionist Temporal Classification; torch.nn.CTCLoss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG934"
FACT = "targets_too_long"

_TORCH = """\
import torch
torch.manual_seed(0)
x = torch.randn({steps}, 16, 8)
texts = torch.randint({first}, 6, (16, 6))
model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 6))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
loss = torch.nn.CTCLoss(zero_infinity={zero})
for step in range(20):
    optimizer.zero_grad()
    out = model(x).log_softmax(2)
    loss(out, texts, torch.full((16,), {steps}), torch.full((16,), 6)).backward()
    optimizer.step()
"""


def _torch(steps: int, first: int = 1, zero: bool = False) -> tuple[Program, ...]:
    source = _TORCH.format(steps=steps, first=first, zero=zero)
    return Program("torch", source), Program("torch", source, "check")


_KERAS = """\
import keras
import numpy as np
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(16, {steps}, 8)).astype("float32")
texts = rng.integers(1, 6, size=(16, 6)).astype("int32")
model = keras.Sequential([keras.Input(({steps}, 8)), keras.layers.Dense(32, "relu"), keras.layers.Dense(6)])
model.compile(keras.optimizers.Adam(3e-3), keras.losses.CTC())
model.fit(x, texts, batch_size=16, epochs=12, verbose=0)
"""


def _keras(steps: int) -> tuple[Program, ...]:
    source, quick = _KERAS.format(steps=steps), ("tensorflow", "torch")  # JAX compiles CTC for long
    return Program("keras", source, "run", quick), Program("keras", source, "check", quick)


SICK = (*_keras(5), *_torch(5), *_torch(5, zero=True), *_torch(16, first=0))
HEALTHY = (*_keras(16), *_torch(16), *_torch(16, zero=True))


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """One finding a line: what is too long first, then the blank inside."""
    for fact in facts:
        if fact.values["problem"] == "short":
            if not fact.values["zero_infinity"] or fact.values["short"] * 2 >= fact.values["batch"]:
                yield _finding(fact, *_short(fact, frontend))
        else:
            yield _finding(fact, *_blank(fact))


def _finding(fact: Fact, title: str, facts: tuple[str, ...], advice: tuple[str, ...]) -> Finding:
    where = (str(fact.where),) if fact.where else ()
    return Finding(
        CODE,
        title,
        Cause.LOSS_HEAD,
        Severity.ERROR,
        evidence=(*where, *facts),
        advice=advice,
        where=fact.where,
        mistake=True,
    )


def _short(fact: Fact, frontend: Frontend) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    v = fact.values
    needs = (
        msg(" that needs {characters}", characters=v["characters"] + v["repeats"])
        if v["repeats"]
        else ""
    )
    title = msg(
        "CTC has {steps} time steps for a target of {characters} characters{needs}: "
        "{short} of {batch} targets are too long for their inputs",
        steps=v["steps"],
        characters=v["characters"],
        needs=needs,
        short=v["short"],
        batch=v["batch"],
    )
    repeats = (
        msg(", {repeats} of them between equal characters", repeats=v["repeats"])
        if v["repeats"]
        else ""
    )
    facts = [
        msg(
            "input length {steps}, target length {characters}: it needs "
            "{characters2} steps{repeats}",
            steps=v["steps"],
            characters=v["characters"],
            characters2=v["characters"] + v["repeats"],
            repeats=repeats,
        )
    ]
    if v["zero_infinity"]:
        facts.append(msg("zero_infinity makes their loss and their gradient 0: they teach nothing"))
    elif frontend == "keras":
        facts.append(
            msg(
                "nothing spells such a target: its loss is infinite, or a large constant that teaches nothing"
            )
        )
    else:
        facts.append(msg("the loss of such a target is infinite, and every gradient NaN"))
    advice = [
        msg(
            "leave more time steps than characters: less pooling or stride along the width (time), or "
            "longer inputs"
        )
    ]
    if v["short"] < v["batch"]:
        advice.append(msg("or leave out the targets that are longer than their input lengths"))
    if frontend == "torch" and not v["zero_infinity"] and v["short"] < v["batch"]:
        advice.append(msg("nn.CTCLoss(zero_infinity=True) skips a few of them"))
    return title, tuple(facts), tuple(advice)


def _blank(fact: Fact) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    v = fact.values
    title = msg(
        "the blank's label {blank} stands inside {short} of {batch} CTC targets",
        blank=v["blank"],
        short=v["short"],
        batch=v["batch"],
    )
    facts = (msg("a reader leaves blanks out: that character can never be read"),)
    return (
        title,
        facts,
        (
            msg(
                "number the characters from {blank}, or give the loss another blank",
                blank=v["blank"] + 1,
            ),
        ),
    )
