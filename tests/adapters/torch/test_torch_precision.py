"""A live training in float32, whatever its autocast says."""

import pytest
import torch
from torch import nn

from evengrad.adapters.torch.change.model import LiveTraining
from evengrad.adapters.torch.change.precision import full
from evengrad.errors import CannotChangeError


def live(net):
    return LiveTraining(net, torch.optim.SGD(net.parameters(), 0.1), note=lambda _: None)


def test_autocast_does_nothing_any_more():
    net, x = nn.Linear(4, 2), torch.randn(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert net(x).dtype is torch.bfloat16
        training = live(net)
        full(training)
        assert net(x).dtype is torch.float32
    for given in [("cpu", torch.bfloat16, True), ("cpu", torch.bfloat16, True, False)]:
        with torch.autocast(*given):
            assert net(x).dtype is torch.float32
    training.patches.undo()
    with torch.autocast("cpu", torch.bfloat16):
        assert net(x).dtype is torch.bfloat16


def test_what_is_in_float32_or_all_in_half_precision_is_refused():
    with pytest.raises(CannotChangeError, match="already"):
        full(live(nn.Linear(4, 2)))
    with pytest.raises(CannotChangeError, match="weights are in half"):
        full(live(nn.Linear(4, 2).bfloat16()))
