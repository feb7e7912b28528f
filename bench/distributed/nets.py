"""What the trainings train, and the truth about it: one process, float64, the whole batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bench.distributed.figures import FIGURES

STEPS, BATCH, RATE, MOMENTUM = 3, 24, 0.1, 0.9


class Net(nn.Module):
    """Rows that no number of processes divides, and a tensor of one element."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(12, 7)
        self.norm = nn.LayerNorm(7)
        self.b = nn.Linear(7, 6)
        self.scale = nn.Parameter(torch.full((1,), 0.7))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        """Scores of three classes."""
        return self.head(self.scale * self.b(torch.tanh(self.norm(self.a(x)))))


class Tied(nn.Module):
    """One table for the words that go in and those that come out."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(12, 6)
        self.inside = nn.Linear(6, 6)
        self.out = nn.Linear(6, 12, bias=False)
        self.out.weight = self.words.weight

    def forward(self, x: Any) -> Any:
        """Scores of all words, from the places of the largest inputs."""
        return self.out(torch.tanh(self.inside(self.words(x.argmax(-1)))))


def staged() -> nn.Sequential:
    """For two stages of a pipeline."""
    return nn.Sequential(nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3))


def made(kind: Callable[[], nn.Module]) -> nn.Module:
    """The same weights in each process."""
    torch.manual_seed(0)
    return kind()


def data() -> tuple[Any, Any]:
    """Inputs (steps, batch, 12) and targets."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(STEPS, BATCH, 12, generator=generator)
    return x, torch.randint(0, 3, (STEPS, BATCH), generator=generator)


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    """That of all trainings."""
    return torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)


@cache
def truth(kind: Callable[[], nn.Module], left_out: int | None = None) -> dict[str, list[Any]]:
    """What a run should have recorded: FIGURES a step and tensor, "norm" and "loss" a step.

    Args:
        kind: makes the network.
        left_out: a step that is not made.
    """
    model = made(kind).double()
    optimizer = optimizer_of(model)
    found: dict[str, list[Any]] = {name: [] for name in (*FIGURES, "norm", "loss")}
    for step, (x, y) in enumerate(zip(*data(), strict=True)):
        optimizer.zero_grad()
        loss = cross_entropy(model(x.double()), y)
        loss.backward()
        before = [p.detach().clone() for p in model.parameters()]
        gradients = [p.grad for p in model.parameters()]
        if step == left_out:
            continue
        optimizer.step()
        moved = [p.detach() - old for p, old in zip(model.parameters(), before, strict=True)]
        found["gradient_rms"].append([_rms(g) for g in gradients])
        found["gradient_max"].append([float(g.abs().max()) for g in gradients])
        found["zeros"].append([float((g == 0).double().mean()) for g in gradients])
        found["weight_rms"].append([_rms(p) for p in before])
        found["update_rms"].append([_rms(m) for m in moved])
        found["norm"].append(math.sqrt(sum(float(g.square().sum()) for g in gradients)))
        found["loss"].append(float(loss.detach()))
    return found


def _rms(tensor: Any) -> float:
    return float(tensor.square().mean().sqrt())
