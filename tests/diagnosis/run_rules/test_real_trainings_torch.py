"""Real trainings, small ones, in PyTorch: healthy ones give no finding, sick ones the right one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import evengrad
from evengrad.diagnosis.diagnose import diagnose_run


def train(
    folder, seed, *, optimizer="SGD", rate=0.05, steps=300, burst=(), act=nn.ReLU, depth=3, **watch
):
    """A classifier of a linear teacher; in the steps of a burst its inputs are a thousandfold."""
    torch.manual_seed(seed)
    hidden = [layer for _ in range(depth - 1) for layer in (act(), nn.Linear(32, 32))]
    model = nn.Sequential(nn.Linear(10, 32), *hidden, act(), nn.Linear(32, 3))
    chosen = getattr(torch.optim, optimizer)(model.parameters(), lr=rate)
    teacher = torch.randn(10, 3)
    handle = evengrad.watch(model, chosen, folder=folder, **watch)
    try:
        for number in range(steps):
            inputs = torch.randn(64, 10)
            labels = (inputs @ teacher).argmax(1)
            scale = 1000 if number in burst else 1
            loss = nn.functional.cross_entropy(model(inputs * scale), labels)
            chosen.zero_grad()
            loss.backward()
            chosen.step()
    except evengrad.GuardStopError:
        pass
    finally:
        handle.remove()
    return evengrad.load(handle.watching.path)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"optimizer": "Adam", "rate": 1e-3},
        {"optimizer": "AdamW", "rate": 3e-3, "clip": 1.0},
        {"clip": "auto"},
        {"clip": "percentile"},
        {"optimizer": "Adam", "rate": 1e-3, "act": nn.Tanh, "depth": 6},
    ],
    ids=str,
)
def test_healthy_trainings_give_no_finding(tmp_path, given, seed):
    assert diagnose_run(train(tmp_path, seed, **given)) == ()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("given", "code", "cause"),
    [
        ({"rate": 1e-7, "steps": 1000}, "EG809", "learning_rate"),
        ({"act": nn.Sigmoid, "depth": 10, "steps": 1000}, "EG809", "activation"),
        ({"rate": 40.0}, "EG802", "learning_rate"),
        ({"rate": 1e4, "guard": None, "steps": 40}, "EG801", "learning_rate"),
        ({"optimizer": "Adam", "rate": 1e-3, "burst": (200,)}, "EG803", "bad_batch"),
        ({"clip": 0.01}, "EG804", "learning_rate"),
    ],
    ids=str,
)
def test_sick_trainings_give_the_finding(tmp_path, given, code, cause, seed):
    found = diagnose_run(train(tmp_path, seed, **given))
    assert (code, cause) in [
        (f.code, f.cause.value) for root in found for f in (root, *root.echoes)
    ]
