"""The split by cause: it adds up, and says what was planted."""

import math

import pytest
import torch
from build_torch import build
from torch import nn

from evengrad.adapters.torch.probe import probe
from evengrad.diagnosis.budget import budget
from evengrad.diagnosis.causes import attribute, shares
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.values.finding import Cause

NETWORKS = [
    NetworkCase(depth=8, gain=2.0),
    NetworkCase(depth=6, activation="tanh", residual=True),
    NetworkCase(layers="conv", depth=4, width=8, normalisation="batch"),
    NetworkCase(layers="conv", depth=4, width=8, normalisation="batch", residual=True),
    NetworkCase(depth=6, activation="gelu", normalisation="layer"),
    NetworkCase(depth=3, activation="leaky_relu", head="softmax", loss="probabilities"),
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("network", NETWORKS, ids=range(len(NETWORKS)))
def test_causes_sum_to_the_total(network, seed):
    measured = probe(**build(network, seed))
    split = budget(measured)
    found = attribute(measured, split)
    assert sum(found.by_cause.values()) == pytest.approx(split.total, abs=1e-9)
    for name, parts in found.by_operation.items():
        assert sum(parts.values()) == pytest.approx(split.terms[name], abs=1e-9)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_initialisation_gets_what_was_planted(activation, factor):
    """Weights off by a factor in each of n layers: factor^n, whatever the activation."""
    from gains import GAINS

    depth = 6
    measured = probe(
        **build(
            NetworkCase(
                depth=depth, width=256, activation=activation, gain=factor * GAINS[activation]
            ),
            1,
        )
    )
    planted = shares(measured)[Cause.INITIALISATION]
    assert planted == pytest.approx(depth * math.log(factor), abs=0.25)


def test_normalised_layers_have_no_scale_of_their_own():
    measured = probe(**build(NetworkCase(depth=5, gain=30.0, normalisation="batch"), 1))
    found = attribute(measured)
    assert [scale.layer for scale in found.scales] == ["head"], "hidden layers of gain 30 are not"
    assert abs(found.by_cause[Cause.INITIALISATION]) < math.log(2)


def test_pre_activation_order_pairs_weights_with_the_activation_before():
    torch.manual_seed(0)
    layers = [nn.Linear(32, 32)]
    for _ in range(4):
        layer = nn.Linear(32, 32)
        nn.init.normal_(layer.weight, std=math.sqrt(2 / 32))
        layers += [nn.BatchNorm1d(32), nn.ReLU(), layer]
    net = nn.Sequential(*layers)
    measured = probe(net, loss=nn.MSELoss(), batch=(torch.randn(64, 32), torch.randn(64, 32)))
    last = attribute(measured).scales[-1]
    assert last.preserving == pytest.approx(math.sqrt(2), rel=1e-6)
    assert last.activation is not None
