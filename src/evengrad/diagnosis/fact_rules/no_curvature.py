"""EG921 a second derivative that is 0 everywhere: the network is piecewise linear in its inputs.

What it finds: a derivative by the inputs, taken of a derivative, all of whose values are exactly 0, behind ReLU
or another activation of straight pieces. It is what a physics-informed network with ReLU gives for u''.

Why it matters: the term of the loss that reads it is a constant, and so is its gradient: 0. The network learns
the boundary values alone, and the residual stays where it is, whatever the rate.

How it decides: exactly, in the first steps, by the values that `torch.autograd.grad` gives, and the activation
in the graph of what is differentiated.

What to do: a smooth activation: tanh, softplus, SiLU, sin.

PyTorch alone: nested gradient tapes of TensorFlow are not followed.

References: Raissi, Perdikaris & Karniadakis 2019, Physics-informed neural networks; Sitzmann et al. 2020
(2006.09661).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG921"
FACT = "no_curvature"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
act = nn.{activation}()
model = nn.Sequential(nn.Linear(1, 16), act, nn.Linear(16, 16), act, nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
ends = torch.tensor([[0.0], [1.0]])
for step in range(12):
    x = torch.rand(32, 1).requires_grad_()
    u = model(x)
    du = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
    {second}
    loss = ((residual - 1) ** 2).mean() + (model(ends) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
_TWICE = "residual = torch.autograd.grad(du[:, 0:1], x, torch.ones_like(du), create_graph=True)[0]"


def _loop(activation: str, second: str = _TWICE, verb: str = "run") -> Program:
    source = _LOOP.format(activation=activation, second=second)
    return Program("torch", source, "check" if verb == "check" else "run")


SICK = (_loop("ReLU"), _loop("LeakyReLU"), _loop("ReLU", verb="check"))
HEALTHY = (
    _loop("Tanh"),
    _loop("Tanh", verb="check"),
    _loop("SiLU"),
    _loop("ReLU", "residual = du"),
    _loop("ReLU", "residual = du.norm(dim=1)", "check"),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire once: the first such derivative is told."""
    for fact in facts:
        kind = fact.values["activation"]
        yield Finding(
            CODE,
            msg(
                "the second derivative is 0 everywhere: a network of {kind} is piecewise linear in its inputs",
                kind=kind,
            ),
            Cause.ACTIVATION,
            Severity.ERROR,
            evidence=(
                msg(
                    "{where}: all {count:,} values are exactly 0",
                    where=fact.where or "torch.autograd.grad",
                    count=fact.values["count"],
                ),
                msg("what the loss makes of it has no gradient, and nothing learns it"),
            ),
            advice=(
                msg(
                    "take an activation with curvature instead of {kind}: nn.Tanh(), nn.SiLU(), torch.sin",
                    kind=kind,
                ),
            ),
            unhealthy=True,
            where=fact.where,
            mistake=True,
        )
