"""What remedies propose, by what is known of a sick training."""

import pytest
import torch
from torch import nn

from evengrad.adapters.torch.probe import probe
from evengrad.fixing.case import Case
from evengrad.fixing.remedies import candidates
from evengrad.fixing.trial import Result
from evengrad.values.change import Initialise, SetRate
from evengrad.values.finding import Cause, Finding, Severity


def case(*codes, scale=1.0, rate=0.1, optimizer=torch.optim.SGD):
    """A plain network whose weights have ``scale`` times what keeps the variance; codes: of its findings."""
    torch.manual_seed(0)
    layers = [nn.Linear(64, 64) for _ in range(4)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layer.weight.data *= scale
        nn.init.zeros_(layer.bias)
    model = nn.Sequential(
        *(part for layer in layers for part in (layer, nn.ReLU())), nn.Linear(64, 1)
    )
    measured = probe(
        model,
        batch=(torch.randn(32, 64), torch.randn(32, 1)),
        loss=nn.MSELoss(),
        optimizer=optimizer(model.parameters(), rate),
        rate=False,
    )
    found = tuple(Finding(c, "", Cause.LEARNING_RATE, Severity.ERROR) for c in codes)
    return Case(measured, found, Result("budget"), 200)


def rates(given):
    """Those that are proposed, in order."""
    changes = [c for found in candidates(given, ["learning_rate"]) for c in found.changes]
    return [change.value for change in changes if isinstance(change, SetRate)]


@pytest.mark.parametrize("more", [(), ("EG809",), ("EG703",), ("EG805", "EG809")])
def test_after_steps_that_were_too_large_no_larger_rate_is_tried(more):
    """However still it stands at the end."""
    found = rates(case("EG701", *more, rate=10.0, optimizer=torch.optim.Adam))
    assert found == [1e-3, 1.0, 0.1]


@pytest.mark.parametrize("code", ["EG703", "EG809"])
def test_what_hardly_moves_gets_a_larger_rate(code):
    assert rates(case(code, rate=1e-5)) == [1e-3, 1e-4]
    assert rates(case(code, rate=1e-5, optimizer=torch.optim.Adam)) == [1e-3, 1e-4]


@pytest.mark.parametrize("code", ["EG701", "EG702", "EG802"])
def test_steps_too_large_on_weights_twice_too_large_are_their_fault_too(code):
    (found,) = candidates(case(code, scale=2.5), ["initialisation"])
    assert found.cause is Cause.LEARNING_RATE  # the one that was found, so that it is not put last
    assert all(isinstance(change, Initialise) for change in found.changes)
    assert not candidates(case(code, scale=1.3), ["initialisation"])
    assert not candidates(case("EG703", scale=2.5), ["initialisation"])
