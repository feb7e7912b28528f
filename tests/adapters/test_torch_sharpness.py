"""The rate that a torch loss bears, against closed forms of a linear model."""

import numpy as np
import pytest
import torch
from torch import nn

import evengrad
from evengrad.theory.stability import PASSES


def linear(seed, batch=40, width=5):
    torch.manual_seed(seed)
    model = nn.Linear(width, 1, bias=False).double()
    x = torch.randn(batch, width, dtype=torch.float64) * torch.linspace(0.5, 2, width)
    y = torch.randn(batch, 1, dtype=torch.float64)
    hessian = (2 / batch * x.T @ x).numpy()
    w = model.weight.detach().numpy()[0]
    gradient = hessian @ w - (2 / batch * (x.T @ y)).numpy()[:, 0]
    return model, (x, y), hessian, gradient


@pytest.mark.parametrize("seed", range(4))
def test_critical_rate_and_sharpness_of_sgd(seed):
    model, batch, hessian, g = linear(seed)
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    rate = evengrad.check(
        model, loss=nn.MSELoss(), batch=batch, optimizer=optimizer, precise=True
    ).probe.rate
    exact = 2 * (g @ g) / (g @ hessian @ g)
    assert rate.passes <= PASSES
    assert rate.critical == pytest.approx(exact, rel=0.35)
    assert rate.sharpness == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_sharpness_is_preconditioned_as_adam_does(seed):
    model, batch, hessian, g = linear(seed)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    rate = evengrad.check(
        model, loss=nn.MSELoss(), batch=batch, optimizer=optimizer, precise=True
    ).probe.rate
    root = 1 / np.sqrt(np.abs(g) + 1e-8)
    scaled = root[:, None] * hessian * root
    assert rate.sharpness == pytest.approx(np.linalg.eigvalsh(scaled)[-1], rel=0.02)
    u = np.sign(g)
    assert rate.critical == pytest.approx(2 * (g @ u) / (u @ hessian @ u), rel=0.35)


def test_nothing_is_changed():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    noise = torch.get_rng_state()
    batch = torch.randn(16, 6, generator=torch.Generator().manual_seed(1)), torch.arange(16) % 3
    rate = evengrad.check(
        model, loss=nn.CrossEntropyLoss(), batch=batch, optimizer=optimizer
    ).probe.rate
    assert rate is not None
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(noise, torch.get_rng_state())
    assert optimizer.state_dict()["state"] == {}


def test_no_rate_without_an_optimizer_or_when_not_wanted():
    model, batch, *_ = linear(0)
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    assert evengrad.check(model, loss=nn.MSELoss(), batch=batch).probe.rate is None
    quick = evengrad.check(model, loss=nn.MSELoss(), batch=batch, optimizer=optimizer, rate=False)
    assert quick.probe.rate is None
