"""EG918 update not finite: the gradients are finite, and what the optimizer makes of them is not.

What it finds: a step of an optimizer that would have put NaN or infinities into the weights though no gradient
had any.

Why it matters: Adam, AdamW, RMSprop and Adagrad divide by the root of a mean of squares, and their epsilon is
what keeps that from being zero. In float16 the smallest number is 6e-8: the usual epsilon of 1e-8 is 0, and so
is the square of any gradient below 2e-4. The first step divides by zero, and every weight is lost.

How it decides: exactly: weights and state are kept before each step of an optimizer whose weights are in
float16, or whose epsilon is 0 in their precision; after it they are looked at, and put back bit for bit where
the guard is on.

What to do: keep the weights in float32 and use `torch.autocast` for half precision, which is what it is for; or
give the optimizer `eps=1e-4`, which float16 can hold.

References: pytorch#8860; Micikevicius et al. 2018 (1710.03740), master weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity, Symptom
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


SICK = (
    _loop("Adam(model.parameters(), lr=1e-3)"),
    _loop("Adam(model.parameters(), lr=1e-3)", "check"),
    _loop("AdamW(model.parameters(), lr=1e-3)"),
    _loop("RMSprop(model.parameters(), lr=1e-3)"),
)
HEALTHY = (
    _loop("Adam(model.parameters(), lr=1e-3, eps=1e-4)"),
    _loop("SGD(model.parameters(), lr=1e-2)"),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire on the first such update."""
    for fact in facts[:1]:
        values = fact.values
        kind, dtype, eps = values["optimizer"], values["dtype"], values["eps"]
        zero = f"eps={eps:g} is 0 in {dtype}" if values["vanishes"] else f"weights in {dtype}"
        where = "the first step" if fact.step == 0 else f"step {fact.step}"
        if values["guarded"] is None:
            fate = "seen on a copy of the optimizer: nothing was changed"
        elif values["guarded"]:
            fate = "the step was taken back: weights and state are as they were before it"
        else:
            fate = "there was no guard: the step reached the weights"
        yield Finding(
            CODE,
            f"{kind}'s update in {where} is not finite though the gradients are: {zero}",
            Cause.PRECISION,
            Severity.ERROR,
            layers=tuple(dict.fromkeys(n.rpartition(".")[0] or n for n in values["names"])),
            evidence=(
                f"{fact.where or kind + '.step()'} would put NaN or infinities into {values['tensors']} of "
                f"{values['of']} tensors ({layers(values['names'])})",
                f"{kind} divides by a root of squared gradients plus eps: squares below 6e-8 are 0 in float16",
                fate,
            ),
            advice=(
                "keep the weights in float32 and use torch.autocast with a GradScaler instead of .half()",
                f"or give it an eps that {dtype} can hold: {kind}(..., eps=1e-4)",
            ),
            symptom=Symptom.NOT_FINITE,
            unhealthy=True,
            where=fact.where,
            mistake=True,
        )
