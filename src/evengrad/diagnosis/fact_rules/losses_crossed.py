"""EG917 losses crossed: an optimizer steps after the backward pass of another one's loss.

What it finds: an optimizer whose gradients are there at no step, though a backward pass makes them: they are
set to zero again before it steps.

Why it matters: it steps on nothing and its weights stay as they are, while its loss is worked out each time.

How it decides: exactly, in the first steps: backward passes at one line reach its weights, the one before its
step is at another and does not, and between the two the gradients were emptied.

PyTorch alone: Keras' optimizers are handed their gradients, so that nothing is emptied between a backward pass
and a step; weights that another one's loss does not reach have none, which Keras refuses with an error.

What to do: keep the order zero_grad, backward, step for each optimizer with its own loss.

References: PyTorch documentation, torch.optim: taking an optimization step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.probe import Frontend
from evengrad.values.wording import count

CODE = "EG917"
FACT = "losses_crossed"
_TWO = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 8)
one, two = nn.Linear(8, 1), nn.Linear(8, 1)
first = torch.optim.SGD(one.parameters(), lr=0.1)
second = torch.optim.SGD(two.parameters(), lr=0.1)
for step in range(12):
    loss_one = (one(x) - x[:, :1]).pow(2).mean()
    loss_two = (two(x) - x[:, 1:2]).pow(2).mean()
    first.zero_grad()
    {a}.backward()
    first.step()
    second.zero_grad()
    {b}.backward()
    second.step()
"""
SICK = (Program("torch", _TWO.format(a="loss_two", b="loss_one")),)
HEALTHY = (
    Program("torch", _TWO.format(a="loss_one", b="loss_two")),
    Program("torch", _TWO.format(a="(loss_one + two(x).mean())", b="loss_two")),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire on each optimizer that it was seen of."""
    for fact in facts:
        values = fact.values
        optimizer, whose = values["optimizer"], values["model"] or "its weights"
        yield Finding(
            CODE,
            f"{optimizer} steps after another loss: the gradients of {whose} are zeroed before they are used",
            Cause.ARCHITECTURE,
            Severity.ERROR,
            evidence=(
                f"{values['backward']} comes before {optimizer}.step() and does not reach {whose}",
                f"{values['wiped']} does, and zero_grad() empties what it made",
                f"in {count(values['steps'], 'step')} of {values['steps']}",
            ),
            advice=(
                f"{optimizer}.zero_grad(), then backward() of the loss of {whose}, then {optimizer}.step()",
            ),
            unhealthy=True,
            where=fact.where,
            mistake=True,
        )
