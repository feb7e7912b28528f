"""Which layers are residual branches, and how they end."""

import pytest
import torch
from torch import nn

from evengrad.adapters.torch.probe import probe
from evengrad.diagnosis.branches import Branch, branches
from evengrad.fixing.case import Case
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.remedies import candidates
from evengrad.fixing.trial import Result
from evengrad.values.finding import Cause
from evengrad.verbs.check import check_probe


class Net(nn.Module):
    """forward: given the module and the tensor behind a first layer."""

    def __init__(self, forward):
        super().__init__()
        self.first, self.a, self.b, self.c, self.head = (nn.Linear(4, 4) for _ in range(5))
        self.norm, self.drop, self.own = nn.LayerNorm(4), nn.Dropout(0.5), forward

    def forward(self, x):
        return self.head(self.own(self, self.first(x)))


def probed(model, seed=0):
    torch.manual_seed(seed)
    x, y = torch.randn(8, 4), torch.randn(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return probe(model, batch=(x, y), loss=nn.MSELoss(), optimizer=optimizer, rate=True)


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda m, x: x + m.a(x), [Branch(("a",), True)]),
        (lambda m, x: m.b(torch.relu(m.a(x))) + x, [Branch(("a", "b"), True)]),
        (lambda m, x: x + torch.relu(m.a(x)), [Branch(("a",), False)]),
        (lambda m, x: x + m.norm(m.a(x)), [Branch(("a",), False)]),
        (lambda m, x: x + m.drop(m.a(x)), [Branch(("a",), True)]),
        (lambda m, x: m.c(x) + m.b(torch.tanh(m.a(x))), [Branch(("a", "b"), True)]),
        (lambda m, x: m.a(x) + m.b(x), []),
        (lambda m, x: m.b(m.a(x)), []),
        (lambda m, x: x + x, []),
        (lambda m, x: x * m.a(x), []),
        (lambda m, x: (h := x + m.a(x)) + m.b(h), [Branch(("a",), True), Branch(("b",), True)]),
    ],
)
def test_branches(forward, expected):
    assert list(branches(probed(Net(forward)))) == expected


class Residual(nn.Module):
    """Each block doubles the variance. closed: whether its branch ends in a ReLU."""

    def __init__(self, depth, closed=False):
        super().__init__()
        self.first, self.head, self.closed = nn.Linear(4, 32), nn.Linear(32, 4), closed
        self.blocks = nn.ModuleList(nn.Linear(32, 32) for _ in range(depth))
        for block in self.blocks:
            nn.init.kaiming_normal_(block.weight, nonlinearity="relu")

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + (torch.relu(block(x)) if self.closed else block(torch.relu(x)))
        return self.head(x)


def proposed(model, seed):
    measured = probed(model, seed)
    result = Result("budget")
    found = candidates(Case(measured, check_probe(measured).findings, result, 100), ())
    return {candidate.remedy: candidate for candidate in found}


@pytest.mark.parametrize("seed", range(2))
def test_a_sum_that_doubles_at_each_block_begins_at_zero_and_gets_no_second_connection(seed):
    torch.manual_seed(seed)
    found = proposed(Residual(40), seed)
    (change,) = found["zero_branches"].changes
    assert change == Initialise(tuple(f"blocks.{n}" for n in range(40)), "linear", 0.0, "zeros")
    assert found["zero_branches"].cause is Cause.ARCHITECTURE
    assert "skip" not in found


def test_a_branch_that_ends_in_a_relu_would_stay_at_zero():
    torch.manual_seed(0)
    assert "zero_branches" not in proposed(Residual(60, closed=True), 0)
