"""What a shorter path goes round, and what begins at zero: on networks that torch runs."""

import torch
from torch import nn

import evengrad
from evengrad.diagnosis.evidence import evidence


class Residual(nn.Module):
    """One plain layer, one behind an identity, a head."""

    def __init__(self):
        super().__init__()
        self.plain, self.branch, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu(self.plain(x))
        return self.head(x + torch.relu(self.branch(x)))


class Inception(nn.Module):
    """One layer beside two; no identity."""

    def __init__(self):
        super().__init__()
        self.short, self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        both = torch.cat([self.short(x), self.second(torch.relu(self.first(x)))], 1)
        return self.head(torch.relu(both))


def seen(model):
    torch.manual_seed(0)
    batch = (torch.randn(16, 8), torch.randint(0, 3, (16,)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    result = evengrad.check(model, loss=nn.CrossEntropyLoss(), batch=batch, optimizer=optimizer)
    return result, evidence(result.probe)


def bypassed_weights(model):
    found = seen(model)[1]
    return {op.layer for op in found.probe.operations if op.weights and op.name in found.bypassed}


def test_a_residual_branch_is_gone_round():
    assert bypassed_weights(Residual()) == {"branch"}


def test_of_two_branches_the_longer_one_is_gone_round():
    assert bypassed_weights(Inception()) == {"first", "second"}


def test_a_chain_goes_round_nothing():
    chain = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    assert bypassed_weights(chain) == set()


def test_a_head_that_begins_at_zero_is_a_design_and_two_layers_of_zeros_are_none():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    nn.init.zeros_(model[4].weight)
    assert seen(model)[0].findings == ()
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    assert {finding.code for finding in seen(model)[0].findings} & {"EG302", "EG102"}


def test_weights_before_a_normalisation_are_absorbed_also_through_a_concatenation():
    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.norm = nn.Linear(8, 4), nn.Linear(8, 4), nn.BatchNorm1d(8)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head(torch.relu(self.norm(torch.cat([self.a(x), self.b(x)], 1))))

    found = seen(Dense())[1]
    layers = {op.layer for op in found.probe.operations if op.name in found.shares.absorbed}
    assert layers == {"a", "b"}
