"""Causes told apart, in PyTorch: a small CNN explodes by initialisation alone, a deep sigmoid
network vanishes by activation alone, and that CNN with He weights is healthy.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

import evengrad
from evengrad import Cause


class SmallCNN(nn.Module):
    """Two convolutions and two dense layers, with logits at its end."""

    def __init__(self, gain):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.dense1, self.dense2 = nn.Linear(64 * 24 * 24, 128), nn.Linear(128, 10)
        for layer in (self.conv1, self.conv2, self.dense1, self.dense2):
            nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))

    def forward(self, x):
        x = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        return self.dense2(torch.relu(self.dense1(x.flatten(1))))


def digits(seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(32, 1, 28, 28)) * (rng.uniform(size=(32, 1, 28, 28)) < 0.2)
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(rng.integers(0, 10, 32))


def check(model, seed):
    optimizer = torch.optim.Adam(model.parameters())
    return evengrad.check(
        model, loss=nn.CrossEntropyLoss(), batch=digits(seed), optimizer=optimizer
    )


@pytest.mark.parametrize("seed", range(3))
def test_exploding_by_initialisation_alone(seed):
    torch.manual_seed(seed)
    found = check(SmallCNN(gain=16.0), seed).findings
    assert found[0].cause is Cause.INITIALISATION
    assert [f.code for f in found] == ["EG301"], "one finding; its symptoms are folded into it"
    assert "EG101" in {echo.code for echo in found[0].echoes}
    assert set(found[0].layers) == {"conv1", "conv2", "dense1", "dense2"}


@pytest.mark.parametrize("seed", range(3))
def test_vanishing_by_activation_alone(seed):
    torch.manual_seed(seed)
    layers = [nn.Flatten(), nn.Linear(784, 64)]
    for _ in range(11):
        layers += [nn.Sigmoid(), nn.Linear(64, 64)]
    net = nn.Sequential(*layers, nn.Sigmoid(), nn.Linear(64, 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=1.84623 / math.sqrt(layer.in_features))
    found = check(net, seed).findings
    assert [f.code for f in found] == ["EG203"]
    assert found[0].cause is Cause.ACTIVATION
    assert {echo.code for echo in found[0].echoes} == {"EG102"}


@pytest.mark.parametrize("seed", range(3))
def test_the_network_with_he_weights_is_healthy(seed):
    torch.manual_seed(seed)
    assert check(SmallCNN(gain=math.sqrt(2)), seed).findings == ()


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_what_lies_before_the_first_weights_trains_nothing(factor):
    """Inputs that the model itself divides or multiplies: no weight's gradient is changed by that."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = SmallCNN(gain=math.sqrt(2.0))

        def forward(self, x):
            return self.inner(x * factor)

    torch.manual_seed(0)
    model = Scaled()
    x, y = digits(0)
    found = evengrad.check(
        model,
        loss=nn.CrossEntropyLoss(),
        batch=(x / factor, y),
        optimizer=torch.optim.Adam(model.parameters()),
    )
    assert not {f.code for f in found.findings} & {"EG101", "EG102"}


class HalfNorm(nn.Module):
    """The root mean square in the type of what it is given."""

    def __init__(self, wide):
        super().__init__()
        self.wide = wide

    def forward(self, x):
        y = 64 * (x.float() if self.wide else x)
        return (y / (y.pow(2).sum(-1, keepdim=True) / y.shape[-1] + 1e-4).sqrt()).to(x.dtype)


@pytest.mark.parametrize("wide", [False, True])
def test_a_square_that_overflows_in_half_precision_is_no_matter_of_architecture(wide):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 128), HalfNorm(wide), nn.Linear(128, 3)).half()
    batch = torch.randn(16, 8).half(), torch.randint(0, 3, (16,))

    def loss(out, y):
        return nn.functional.cross_entropy(out.float(), y)

    found = evengrad.check(model, loss=loss, batch=batch).findings
    causes = {f.cause for root in found for f in (root, *root.echoes) if "float16" in f.title}
    assert causes == (set() if wide else {Cause.PRECISION}), found
