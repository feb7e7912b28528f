"""A penalty on the weights alone, whose gradient is not finite, is seen before the first step."""

import math

import pytest
import torch
from torch import nn

from evengrad.adapters.common.origin import birth
from evengrad.adapters.torch.probe import probe


def measured(penalty):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    nn.init.zeros_(model[0].bias)
    batch = torch.randn(16, 4), torch.randint(0, 3, (16,))

    def loss(output, target):
        terms = sum(penalty(p).sum() for p in model.parameters())
        return nn.functional.cross_entropy(output, target) + 1e-3 * terms

    return probe(model, loss=loss, batch=batch)


def test_a_root_of_a_zero_weight_is_found():
    found = birth(measured(lambda p: p.pow(2).sqrt()))
    assert found is not None
    assert "0.bias" in found.message
    assert "epsilon" in found.advice


@pytest.mark.parametrize("penalty", [torch.square, lambda p: (p.pow(2) + 1e-8).sqrt(), torch.abs])
def test_a_penalty_that_is_finite_is_none(penalty):
    result = measured(penalty)
    assert birth(result) is None
    assert all(math.isfinite(weight.penalty) for weight in result.weights)
