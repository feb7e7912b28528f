"""EG914 accumulation not divided: the losses of several backward passes to one step are summed.

What it finds: a script that calls `backward()` several times for each `optimizer.step()`, with a mean loss that
was not divided by the number of passes, and whose training suffers from it.

Why it matters: the gradient is as many times too large. With SGD that is a learning rate as many times too
large; and a clip binds as many times sooner. Optimizers that divide by the gradient's own size, as Adam, hardly
notice.

How it decides: in the first steps every backward pass of one line is counted, and the last operation of its
loss is looked at: a division or a product counts as divided. A check tells of it where the rate is above the
largest stable one for the sum, and below it for the mean; a run where its loss ends at nine tenths of where it
began or above (a measured choice), is not finite, or was stopped by the guard. Only under SGD.

What to do: `(loss / steps).backward()`, or divide the learning rate.

References: Goyal et al. 2017 (1706.02677), 2.3; PyTorch documentation, automatic mixed precision examples:
gradient accumulation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.probe import Frontend

CODE = "EG914"
FACT = "accumulation_undivided"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(512, 8)
y = x[:, :1] - 2 * x[:, 1:2]
model = nn.Linear(8, 1)
optimizer = torch.optim.{optimizer}
for step in range(40):
    optimizer.zero_grad()
    for part in range(16):
        pick = torch.randint(0, 512, (16,))
        loss = nn.functional.mse_loss(model(x[pick]), y[pick])
        {backward}
    {clip}
    optimizer.step()
"""


def _loop(optimizer: str, backward: str, clip: str = "pass", verb: str = "run") -> Program:
    source = _LOOP.format(optimizer=optimizer, backward=backward, clip=clip)
    return Program("torch", source, "check" if verb == "check" else "run")


SICK = (
    _loop("SGD(model.parameters(), lr=0.1)", "loss.backward()"),
    _loop("SGD(model.parameters(), lr=0.1)", "loss.backward()", verb="check"),
)
HEALTHY = (
    _loop("SGD(model.parameters(), lr=0.1)", "(loss / 16).backward()"),
    _loop("SGD(model.parameters(), lr=0.1)", "(loss / 16).backward()", verb="check"),
    _loop("SGD(model.parameters(), lr=0.1 / 16)", "loss.backward()"),
    _loop("SGD(model.parameters(), lr=0.1 / 16)", "loss.backward()", verb="check"),
    _loop("Adam(model.parameters(), lr=0.1)", "loss.backward()"),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire on each optimizer that it was seen of."""
    for fact in facts:
        values = fact.values
        count, rate, optimizer = values["count"], values["rate"], values["optimizer"]
        critical = values.get("critical")
        stable = [f"the largest stable rate for this sum is about {critical or 0:.3g}"]
        yield Finding(
            CODE,
            f"the losses of {count} backward passes to a step are not divided by {count}: the gradient is "
            f"{count} times too large",
            Cause.LEARNING_RATE,
            Severity.ERROR,
            evidence=(
                f"{fact.where or 'backward()'} is called {count} times for each {optimizer}.step()",
                f"with a rate of {rate:g} that is one of {rate * count:g} for the mean of the {count}",
                *(stable if critical else ()),
            ),
            advice=(
                f"(loss / {count}).backward(): divide each loss by the number of accumulation steps",
                f"or divide the learning rate by it: {rate / count:.3g}",
            ),
            where=fact.where,
            mistake=True,
        )
