"""What makes the gradient's norm what it is, against closed forms."""

import math

import pytest
import torch
from torch import nn

from evengrad.report import words
from evengrad.verbs.check import check

COUNT, SIZE = 32, 5


def linear():
    """X w = y without a bias: the gradient of the mean of squares is 2 / n X'(X w - y)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(COUNT, SIZE, generator=generator)
    y = torch.randn(COUNT, 1, generator=generator)
    model = nn.Linear(SIZE, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.randn(1, SIZE, generator=generator))
        exact = 2 / COUNT * x.T @ (x @ model.weight.T - y)
    return model, (x, y), float(exact.norm())


@pytest.mark.parametrize(
    ("loss", "factor"),
    [
        (nn.MSELoss(), 1),
        (nn.MSELoss(reduction="sum"), COUNT),
        (lambda output, y: ((output - y) ** 2).sum(), COUNT),
        (lambda output, y: ((output - y) ** 2).sum() / COUNT, 1),
        (lambda output, y: nn.functional.mse_loss(output, y, reduction="sum") / 2, COUNT / 2),
    ],
)
def test_the_factors_of_a_sum_are_exact(loss, factor):
    model, batch, exact = linear()
    found = check(model, batch=batch, loss=loss).norm
    assert math.isclose(found.mean, exact, rel_tol=1e-5)
    assert math.isclose(found.summed, factor)
    assert math.isclose(found.norm, found.mean * found.summed)
    assert (found.tensor, found.share) == ("weight", 1.0)


def test_the_share_of_a_tensor_is_that_of_the_squared_norm():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(SIZE, 8), nn.Tanh(), nn.Linear(8, 3))
    batch = torch.randn(COUNT, SIZE), torch.randint(0, 3, (COUNT,))
    nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
    squares = {name: float(p.grad.square().sum()) for name, p in model.named_parameters()}
    model.zero_grad()
    found = check(model, batch=batch, loss=nn.CrossEntropyLoss()).norm
    assert math.isclose(found.norm, math.sqrt(sum(squares.values())), rel_tol=1e-5)
    assert found.tensor == max(squares, key=squares.get)
    assert math.isclose(found.share, max(squares.values()) / sum(squares.values()), rel_tol=1e-5)


def test_it_is_told_in_one_line():
    model, batch, _ = linear()
    line = words.gradient_norm(check(model, batch=batch, loss=nn.MSELoss(reduction="sum")))
    assert line.startswith("Gradient norm ")
    assert "32 times by its sum over 32 elements" in line
    calm = words.gradient_norm(check(model, batch=batch, loss=nn.MSELoss()))
    assert "times" not in calm
