"""What is concluded of a training beside what adapters tell."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import evengrad
from evengrad.fixing.sight import Sight


def seen(scale, offset, loss=nn.functional.mse_loss, columns=3):
    torch.manual_seed(0)
    x = scale * torch.randn(32, columns)
    y = torch.randn(32, 1) + offset
    model = nn.Sequential(nn.Linear(columns, 8), nn.ReLU(), nn.Linear(8, 1))
    probe = evengrad.check(model, loss=loss, batch=(x, y)).probe
    verdict = SimpleNamespace(healthy=True, learning=False)
    return Sight(SimpleNamespace(verdict=verdict), probe, None)


@pytest.mark.parametrize(
    ("scale", "offset", "kinds"),
    [(1, 0, []), (1, 30, []), (1, 4000, ["raw_data"]), (40, 0, ["raw_data"])],
)
def test_raw_numbers_of_a_regression(scale, offset, kinds):
    found = list(seen(scale, offset).concluded)
    assert [fact.kind for fact in found] == kinds
    assert all(fact.values["columns"] for fact in found)


def test_what_is_no_regression_has_no_raw_numbers():
    sight = seen(40, 0)
    loss = replace(sight.probe.loss, family="binary")
    other = Sight(sight.attempt, replace(sight.probe, loss=loss), None)
    assert not list(other.concluded)
