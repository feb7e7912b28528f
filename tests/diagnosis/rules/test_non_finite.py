"""EG103 names the operation where a NaN or an infinity was born, not where it was noticed."""

import pytest
import torch
from torch import nn

from evengrad import Cause
from evengrad.adapters.torch.probe import probe
from evengrad.verbs.check import check_probe

F = nn.functional


class Net(nn.Module):
    """first, middle (where the fault is planted), last."""

    def __init__(self, fault=None):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.fault = fault or (lambda x: x)

    def forward(self, x):
        return self.last(self.fault(self.middle(torch.relu(self.first(x)))))


def finding(net, loss=F.cross_entropy, x=None):
    torch.manual_seed(0)
    x = torch.randn(6, 5) if x is None else x
    measured = probe(net, loss=loss, batch=(x, torch.randint(0, 3, (6,))))
    found = check_probe(measured).findings
    assert found[0].code == "EG103"
    return found[0]


@pytest.mark.parametrize(
    ("fault", "layer"),
    [
        (lambda x: torch.log(x - x), "log"),
        (lambda x: x / torch.zeros_like(x), "div"),
        (lambda x: torch.exp(1e4 * x.abs()), "exp"),
        (lambda x: torch.sqrt(-x.abs() - 1), "sqrt"),
    ],
)
def test_born_in_the_forward_pass(fault, layer):
    found = finding(Net(fault))
    assert layer in found.layers[0]
    assert found.cause in (Cause.ARCHITECTURE, Cause.INITIALISATION)


def test_born_in_the_backward_pass_alone():
    found = finding(Net(lambda x: x + torch.sqrt(x * 0)))
    assert "sqrt" in found.layers[0]
    assert "going backwards" in found.title


def test_weights_that_hold_a_nan():
    net = Net()
    with torch.no_grad():
        net.middle.weight[2, 3] = float("nan")
    found = finding(net)
    assert found.layers == ("middle",)
    assert "middle.weight" in found.title
    assert found.cause is Cause.INITIALISATION


def test_a_batch_that_holds_an_infinity():
    x = torch.randn(6, 5)
    x[1, 2] = float("inf")
    found = finding(Net(), x=x)
    assert found.layers == ("x",)
    assert found.cause is Cause.BAD_BATCH


def test_a_loss_that_takes_the_logarithm_of_zero():
    found = finding(
        Net(lambda x: 1e4 * x), loss=lambda out, y: F.nll_loss(torch.log(torch.softmax(out, 1)), y)
    )
    assert found.cause in (Cause.LOSS_HEAD, Cause.ARCHITECTURE)
    assert "log" in found.layers[0]


def test_values_too_large_for_float32():
    net = Net()
    with torch.no_grad():
        for layer in (net.first, net.middle, net.last):
            layer.weight *= 1e16
    found = finding(net)
    assert found.layers == ("last",)
    assert found.cause is Cause.INITIALISATION


def test_half_precision_overflow():
    net = Net(lambda x: (x.half() * 3e4 * 3).float())
    with torch.no_grad():
        net.middle.bias += 2.0
    assert finding(net).cause is Cause.PRECISION


def test_a_batch_that_the_network_repairs_is_no_finding():
    class Repairs(Net):
        def forward(self, x):
            return super().forward(torch.nan_to_num(x, 0.0, 0.0, 0.0))

    x = torch.randn(6, 5)
    x[1, 2], x[2, 3] = torch.nan, torch.inf
    measured = probe(Repairs(), loss=F.cross_entropy, batch=(x, torch.randint(0, 3, (6,))))
    assert not [f for f in check_probe(measured).findings if f.code == "EG103"]
    assert finding(Net(), x=x).title.startswith("the batch itself")


def test_a_loss_that_is_not_finite_though_every_gradient_is():
    found = finding(Net(), lambda output, y: F.cross_entropy(output, y) + torch.tensor(torch.nan))
    assert "the loss of this batch is nan" in found.title
    assert found.unhealthy
