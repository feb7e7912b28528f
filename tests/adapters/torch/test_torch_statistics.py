"""Figures that are worked out where the tensors are, against the host's own and against plain NumPy."""

from __future__ import annotations

import math
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

import evengrad
from evengrad.adapters.common.health import activation_health, health_limits
from evengrad.adapters.torch.measure.update import coming_update
from evengrad.adapters.torch.record.state import changed
from evengrad.adapters.torch.statistics import layout
from evengrad.adapters.torch.statistics.eager import column_norms, figures, rms_between, summary
from evengrad.adapters.torch.statistics.health import shares
from evengrad.adapters.torch.statistics.ledger import Ledger, as_on_a_device, summary_of
from evengrad.values.summary import column_rms, summarise

READS = ("cpu", "numpy", "tolist", "item", "__bool__", "__float__", "__int__")


@contextmanager
def host_reads():
    """Counts how often values are read into Python inside, whoever does it."""
    counted = {"reads": 0}
    originals = {name: getattr(torch.Tensor, name) for name in READS}

    def counting(original):
        def read(tensor, *args, **kwargs):
            counted["reads"] += 1
            return original(tensor, *args, **kwargs)

        return read

    for name, original in originals.items():
        setattr(torch.Tensor, name, counting(original))
    try:
        yield counted
    finally:
        for name, original in originals.items():
            setattr(torch.Tensor, name, original)


def close(found, expected, tolerance=1e-6):
    assert found.shape == expected.shape
    for name in ("mean", "rms", "max", "zeros", "non_finite"):
        one, other = getattr(found, name), getattr(expected, name)
        slack = tolerance * expected.rms if name == "mean" else 0.0
        assert one == pytest.approx(other, rel=tolerance, abs=slack), name


def poisoned():
    values = torch.randn(50, 40)
    values[3, 4], values[7], values[9, 9] = math.nan, math.inf, -math.inf
    values[20:23] = 0.0
    return values


TENSORS = {
    "plain": lambda: torch.randn(300, 70),
    "1e19": lambda: torch.randn(40, 30) * 1e19,
    "1e-24": lambda: torch.randn(40, 30) * 1e-24,
    "both ends": lambda: torch.tensor([1e19, 1e-24, -1e19, 0.0]),
    "float64": lambda: torch.randn(40, 30, dtype=torch.float64) * 1e100,
    "float16": lambda: (torch.randn(40, 30) * 3e4).clamp(-65504, 65504).half(),
    "float16, tiny": lambda: torch.randn(40, 30).mul(1e-7).to(torch.float16),
    "bfloat16": lambda: torch.randn(40, 30).mul(1e19).to(torch.bfloat16),
    "not finite": poisoned,
    "nothing finite": lambda: torch.full((5, 5), math.nan),
    "zeros": lambda: torch.zeros(10, 3),
    "scalar": lambda: torch.tensor(-2.5),
    "empty": lambda: torch.zeros(0, 4),
    "whole numbers": lambda: torch.randint(-5, 5, (20, 20)),
    "booleans": lambda: torch.rand(20, 20) > 0.5,
    "complex": lambda: torch.randn(20, 20, dtype=torch.complex64),
    "conjugate": lambda: torch.randn(20, 20, dtype=torch.complex64).conj(),
    "sparse": lambda: torch.eye(6).to_sparse(),
    "transposed": lambda: torch.randn(30, 50).t(),
    "channels last": lambda: torch.randn(4, 3, 8, 8).to(memory_format=torch.channels_last),
    "slice": lambda: torch.randn(30, 90).chunk(3, -1)[1],
    "strided": lambda: torch.randn(31, 9)[::2, ::3],
    "expanded": lambda: torch.randn(30, 1).expand(30, 50),
    "one number expanded": lambda: torch.tensor(0.25).expand(64, 10),
}


@pytest.mark.parametrize("piece", [1 << 24, 7], ids=["whole", "in pieces"])
@pytest.mark.parametrize("name", TENSORS)
def test_on_the_device_as_on_the_host(name, piece, monkeypatch):
    monkeypatch.setattr(layout, "_PIECE", piece)
    torch.manual_seed(0)
    tensor = TENSORS[name]()
    expected = summarise(layout.array(tensor))
    with as_on_a_device():
        close(summary_of(tensor), expected)


def test_without_float64_as_well(monkeypatch):
    """As on Apple's devices: scaled by the largest, in float32."""
    monkeypatch.setattr(
        "evengrad.adapters.torch.statistics.eager.wide", lambda device: torch.float32
    )
    for make in (TENSORS["1e19"], TENSORS["1e-24"], TENSORS["plain"], poisoned):
        tensor = make()
        found = summary(tensor.shape, figures(tensor).tolist())
        close(found, summarise(tensor.numpy()), 1e-5)


def test_a_large_tensor_makes_no_copy_of_itself(monkeypatch):
    """What is made in between is as large as a piece."""
    monkeypatch.setattr(layout, "_PIECE", 1 << 10)
    largest = []
    from evengrad.adapters.torch.compat import hearing_dispatch

    def heard(_func, _args, _kwargs, result):
        owned = isinstance(result, torch.Tensor) and result._base is None
        largest.append(result.untyped_storage().nbytes() if owned else 0)

    for tensor in (
        torch.randn(1 << 15),
        torch.randn(64, 3, 512)[:, 1],
        torch.tensor(1.0).expand(9999),
    ):
        whole = tensor.untyped_storage().nbytes()
        largest.clear()
        with hearing_dispatch(heard):
            figures(tensor)
        assert max(n for n in largest if n != whole) <= 8 << 10


@pytest.mark.parametrize(
    ("name", "ends"), [("relu", None), ("tanh", None), ("relu6", None), ("hardtanh", (-0.5, 0.5))]
)
@pytest.mark.parametrize("shape", [(20, 8), (6, 8, 5, 5), (4, 7, 8)])
def test_health_on_the_device_as_on_the_host(name, ends, shape, monkeypatch):
    monkeypatch.setattr("evengrad.adapters.torch.statistics.health._PIECE", 100)
    values = torch.randn(shape) * 4
    axis = 1 if values.ndim >= 4 else -1
    values.select(axis, 3).zero_()
    values = getattr(nn.functional, name)(values)
    expected = activation_health(name, values.numpy(), axis=axis, flat=ends)
    limits = health_limits(name, values.shape, ends)
    assert limits is not None
    assert shares(values, limits, axis).tolist() == pytest.approx(
        [expected.saturated, expected.dead]
    )


def test_columns_and_differences_as_on_the_host():
    values = poisoned()
    assert column_norms(values).tolist() == pytest.approx(column_rms(values.numpy()))
    one, other = torch.randn(20, 30), torch.randn(30, 20).t()
    expected = float(np.sqrt(np.mean((one.double() - other.double()).numpy() ** 2)))
    assert float(rms_between(one, other)) == pytest.approx(expected)
    assert float(rms_between(one * 1e-20, other * 1e-20)) == pytest.approx(expected * 1e-20)


def test_what_changed_is_told_bit_for_bit():
    before = [
        torch.tensor([math.nan, 0.0]),
        torch.zeros(3),
        torch.tensor([1, 2]),
        torch.ones(2).half(),
    ]
    now = [t.clone() for t in before]
    assert changed(now, before) == []
    now[1][0], now[2][1] = -0.0, 3
    assert [b is before[i] for i, (_, b) in zip((1, 2), changed(now, before), strict=True)] == [
        True
    ] * 2


def test_nothing_is_read_before_all_is():
    told = []
    ledger = Ledger()
    with as_on_a_device(), host_reads() as counted:
        for factor in range(5):
            ledger.summary(torch.full((3,), float(factor)), told.append)
        assert (counted["reads"], told) == (0, [])
        ledger.read()
        assert counted["reads"] == 2  # .cpu().tolist()
    assert [found.mean for found in told] == [0, 1, 2, 3, 4]


# --- a whole check -------------------------------------------------------------------------------------


class Net(nn.Module):
    """Convolutions, norms, splits, activations, dense layers: so many of each."""

    def __init__(self, layers: int, normalised: bool = True):
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(layers))
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(4) if normalised else nn.Identity() for _ in range(layers)
        )
        self.dense = nn.ModuleList(nn.Linear(4, 8) for _ in range(layers))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = torch.relu_(norm(convolution(x))) + x
        x = x.mean((2, 3))
        for dense in self.dense:
            a, b = dense(x).chunk(2, -1)
            x = x + torch.tanh(a) * torch.sigmoid(b)
        return self.head(x)


def checked(layers, normalised=True, rate=0.01):
    torch.manual_seed(1)
    net = Net(layers, normalised)
    x, y = torch.randn(6, 4, 5, 5), torch.randint(3, (6,))

    def loss(output, target):
        penalties = [p.square().sum() for p in net.parameters()]
        return nn.functional.cross_entropy(output, target) + 1e-4 * sum(penalties)

    optimizer = torch.optim.SGD(net.parameters(), rate, momentum=0.9)
    return evengrad.check(net, loss=loss, batch=(x, y), optimizer=optimizer)


def test_a_check_reads_as_often_for_many_layers_as_for_few():
    counts = []
    for layers in (2, 9):
        with as_on_a_device(), host_reads() as counted:
            rate = checked(
                layers, rate=1e-4
            ).probe.rate  # one that is borne: a look further has more
        passes = rate.passes  # each gives a loss
        assert rate.later is None
        counts.append(counted["reads"] - passes)
    assert counts[0] == counts[1] < 50


@pytest.mark.parametrize("normalised", [True, False])
def test_a_check_on_the_device_finds_what_it_finds_on_the_host(normalised):
    host = checked(3, normalised).probe
    with as_on_a_device():
        device = checked(3, normalised).probe
    assert [o.name for o in host.operations] == [o.name for o in device.operations]
    for one, other in zip(host.operations, device.operations, strict=True):
        close(other.forward, one.forward, 1e-5)
        close(other.backward, one.backward, 1e-5)
        assert (one.health is None) == (other.health is None)
        if one.health is not None:
            assert other.health.dead == pytest.approx(one.health.dead)
            assert other.health.saturated == pytest.approx(one.health.saturated)
        for ports in ("inputs", "outputs"):
            norms = [[p.norm for p in getattr(o, ports)] for o in (one, other)]
            assert norms[1] == pytest.approx(norms[0], rel=1e-5)
    for one, other in zip(host.weights, device.weights, strict=True):
        close(other.value, one.value, 1e-5)
        close(other.gradient, one.gradient, 1e-5)
        assert (other.update, other.penalty) == pytest.approx((one.update, one.penalty), rel=1e-5)
    assert device.loss.value == pytest.approx(host.loss.value)
    assert device.loss.penalty == pytest.approx(host.loss.penalty)
    for one, other in zip(host.spec.weights, device.spec.weights, strict=True):
        assert (other.law.mean, other.law.rms) == pytest.approx(
            (one.law.mean, one.law.rms), rel=1e-5
        )


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad])
def test_the_coming_update_is_the_same_on_the_device(make):
    net = nn.Linear(5, 4)
    net(torch.randn(3, 5)).square().mean().backward()
    optimizer = make(net.parameters(), lr=0.1)
    host = coming_update(optimizer).rms
    with as_on_a_device():
        assert coming_update(optimizer).rms == pytest.approx(host)


class Box:
    """What autograd keeps for the backward pass."""

    def __init__(self, tensor):
        self.tensor = tensor


def test_the_rates_passes_hold_nothing_of_the_backward_pass():
    """What the forward pass keeps is freed before weights are moved and copied."""
    kept, freed = [], []

    def pack(tensor):
        box = Box(tensor.detach())  # the tensor itself would hold the graph that holds it
        kept.append(weakref.ref(box))
        return box

    class Watched(Net):
        def forward(self, x):
            if not torch.is_grad_enabled():
                freed.append(all(ref() is None for ref in kept))
            return super().forward(x)

    net = Watched(2)
    x, y = torch.randn(6, 4, 5, 5), torch.randint(3, (6,))
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda box: box.tensor):
        evengrad.check(net, loss=nn.functional.cross_entropy, batch=(x, y), optimizer=optimizer)
    assert len(kept) > 10
    assert freed
    assert all(freed)
