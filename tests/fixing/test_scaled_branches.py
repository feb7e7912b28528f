"""Residual branches scaled by their number: proposed, made live and written."""

import math

import pytest
import torch
from torch import nn

from evengrad.adapters.torch.change.model import LiveTraining
from evengrad.adapters.torch.probe import probe
from evengrad.diagnosis.budget import budget
from evengrad.fixing.case import Case
from evengrad.fixing.changes.scale_branches import ScaleBranches
from evengrad.fixing.patch import write
from evengrad.fixing.remedies import candidates
from evengrad.fixing.trial import Result
from evengrad.values.finding import Cause, Finding, Severity, Symptom

TORCH = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(64, 64)
        self.two = nn.Linear(64, 64)

    def forward(self, x):
        return x + self.two(torch.relu(self.one(x)))


torch.manual_seed(0)
model = nn.Sequential(*(Block() for _ in range(16)), nn.Linear(64, 1))
for module in model.modules():
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight)
x, y = torch.randn(32, 64), torch.randn(32, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
"""
KERAS = """
import keras
from keras import layers

inputs = x = keras.Input((64,))
for i in range(16):
    y = layers.Dense(64, activation="relu")(x)
    y = layers.Dense(64, name=f"end_{i}")(y)
    x = layers.add([x, y])
model = keras.Model(inputs, layers.Dense(1)(x))
model.compile("sgd", "mse")
"""
ENDS = tuple(f"{i}.two" for i in range(16))


def bound(source):
    found = {"__name__": "__main__"}
    exec(compile(source, "script.py", "exec"), found)
    return found


def measured(model, x, y):
    return probe(model, batch=(x, y), loss=nn.MSELoss(), rate=False)


@pytest.fixture(scope="module")
def case():
    found = bound(TORCH)
    exploding = Finding("", "", Cause.ARCHITECTURE, Severity.ERROR, symptom=Symptom.EXPLODING)
    at = measured(found["model"], found["x"], found["y"])
    return Case(at, (exploding,), Result("budget"), 100)


def test_they_are_scaled_by_the_square_root_of_their_number(case):
    """He's branch whose end is linear gives twice the energy: (1 + 2)^16, and (1 + 2/16)^16 with it."""
    (found,) = candidates(case, ["scaled_branches"])
    assert found.changes == (ScaleBranches(ENDS, 0.25),)
    assert "1/sqrt(16)" in found.reason
    assert budget(case.probe).total == pytest.approx(8 * math.log(3), abs=1)


def test_live_as_in_the_patch(case):
    change = ScaleBranches(ENDS, 0.25)
    live, patch = bound(TORCH), write(TORCH, [change], "torch", "script.py")
    assert patch.manual == ()
    written = bound(patch.after)
    change.live_torch(LiveTraining(live["model"], live["optimizer"]))
    x = live["x"]
    torch.testing.assert_close(written["model"](x), live["model"](x))
    total = budget(measured(live["model"], x, live["y"])).total
    assert total == pytest.approx(8 * math.log(1 + 2 / 16), abs=0.4)


def test_keras_gets_an_activation_that_scales():
    patch = write(
        KERAS, [ScaleBranches(tuple(f"end_{i}" for i in range(16)), 0.25)], "keras", "s.py"
    )
    assert patch.manual == ()
    assert "return 0.25 * x" in patch.after
    assert 'name=f"end_{i}", activation=scale_branch)' in patch.after
