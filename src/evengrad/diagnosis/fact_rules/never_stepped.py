"""EG920 optimizer never stepped: backward passes are made for it, and `step()` is never called.

What it finds: an optimizer whose weights get gradients again and again, that makes no step to the end of the
script, and whose weights are where they began.

Why it matters: `backward()` only works the gradients out. It is `step()` that moves the weights; without it the
loss stays where it is, and gradients that nobody takes add up. It is easily lost: behind an `if`, where
`scheduler.step()` stands in its place, and in Lightning's manual optimization, which steps nothing by itself.

How it decides: exactly, at the end of the script: three backward passes or more, no step, no weight moved by
other means. Where another optimizer, that has a loss of its own, steps behind each of them, it is named.

What to do: `optimizer.step()` behind `loss.backward()`, of the optimizer whose weights that loss is to move.

PyTorch alone: `fit` steps by itself, and what Keras differentiates is in nobody's hands until `apply`.

References: PyTorch documentation, torch.optim: taking an optimization step; Lightning: manual optimization.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG920"
FACT = "never_stepped"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 8)
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
for step in range(12):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    {step}
"""


def _loop(step: str, verb: str = "run") -> Program:
    return Program("torch", _LOOP.format(step=step), "check" if verb == "check" else "run")


_SWAPPED = """
import torch
from torch import nn
torch.manual_seed(0)
class Agent:
    def __init__(self):
        self.actor, self.critic = nn.Linear(4, 1), nn.Linear(5, 1)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=0.01)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=0.01)
    def judged(self, s, a):
        return self.critic(torch.cat((s, a), 1))
    def learn(self, s, a, r):
        self.critic_optimizer.zero_grad()
        nn.functional.mse_loss(self.judged(s, a), r).backward()
        self.critic_optimizer.step()
        self.{which}.zero_grad()
        self.judged(s, self.actor(s)).square().mean().backward()
        self.{which}.step()
agent = Agent()
for step in range(12):
    s, a = torch.randn(32, 4), torch.randn(32, 1)
    agent.learn(s, a, s[:, :1] + a)
"""


def _agent(which: str) -> Program:
    return Program("torch", _SWAPPED.replace("{which}", which))


SICK = (
    _loop("scheduler.step()"),
    _loop("pass"),
    _loop("pass", "check"),
    _agent("critic_optimizer"),
)
_BY_HAND = "with torch.no_grad(): [p.sub_(0.1 * p.grad) for p in model.parameters()]"
HEALTHY = (
    _loop("optimizer.step(); scheduler.step()"),
    _loop("optimizer.step() if step % 6 == 5 else None"),
    _loop("optimizer.step()", "check"),
    _loop(_BY_HAND, "check"),
    _agent("actor_optimizer"),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire on each optimizer that it was seen of."""
    for fact in facts:
        optimizer, passes = fact.values["optimizer"], fact.values["passes"]
        yield Finding(
            CODE,
            msg(
                "{optimizer} is never stepped: {passes:,} backward passes, and no weight has moved",
                optimizer=optimizer,
                passes=passes,
            ),
            Cause.LEARNING_RATE,
            Severity.ERROR,
            symptom=Symptom.STANDING_STILL,
            evidence=(
                msg("{where} makes gradients that nobody takes", where=fact.where or "backward()"),
                *_instead(fact),
                *_whose(fact),
                msg(
                    "{optimizer}.step() was not called to the end of the script",
                    optimizer=optimizer,
                ),
            ),
            advice=(_advice(fact),),
            unhealthy=True,
            where=fact.where,
            mistake=True,
        )


def _whose(fact: Fact) -> Iterable[str]:
    names = [name for name, _ in fact.values.get("models", ()) if name]
    if names:
        yield msg("{models} stays as it was made", models=", ".join(names))


def _instead(fact: Fact) -> Iterable[str]:
    other = fact.values.get("instead")
    if other:
        line = fact.values["step"]
        yield msg(
            "behind it {other} steps: {line}; it moves its own weights by a loss that is not theirs",
            other=other,
            line=line,
        )


def _advice(fact: Fact) -> str:
    optimizer, other = fact.values["optimizer"], fact.values.get("instead")
    if other:
        return msg(
            "behind this backward pass call {optimizer}.step() in place of {other}.step(), and before it "
            "{optimizer}.zero_grad() (each loss belongs to the optimizer of the weights that it is to move)",
            optimizer=optimizer,
            other=other,
        )
    return msg(
        "call {optimizer}.step() behind the backward pass (a scheduler's step() changes the rate "
        "alone; Lightning steps nothing by itself where automatic_optimization is False)",
        optimizer=optimizer,
    )
