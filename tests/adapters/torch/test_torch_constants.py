"""Forecasts through constants of the model's own, against probes: ramps on attention logits, decays."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import evengrad
from evengrad.adapters.torch.describe import describe
from evengrad.theory.prediction import predict


class Ramp(nn.Module):
    """Attention with a bias that hangs on the place alone."""

    def __init__(self, how, sd, slope):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(16, 16, bias=False) for _ in range(3))
        for layer in (self.q, self.k, self.v):
            nn.init.normal_(layer.weight, std=sd)
        self.how = how
        self.register_buffer("ramp", slope * torch.arange(8.0).expand(4, 1, 8).contiguous())

    def forward(self, x):
        q, k, v = self.q(x), self.k(x), self.v(x)
        if self.how == "add":
            logits = torch.bmm(q, k.mT) * 0.25 + self.ramp
        else:
            logits = torch.baddbmm(self.ramp, q, k.mT, beta=1, alpha=0.25)
        return logits.softmax(-1) @ v


def measured(make, shape, seeds=8):
    """Median over seeds of the log norm at each operation, over that at the outputs."""
    found = {}
    for seed in range(seeds):
        torch.manual_seed(seed)
        model = make()
        x = torch.randn(*shape)
        seen = evengrad.check(
            model, loss=lambda out, y: (out * y).sum(), batch=(x, torch.randn_like(model(x)))
        ).probe
        for operation in seen.operations:
            norm = math.hypot(*(port.norm for port in operation.outputs))
            found.setdefault(operation.name, []).append(norm / seen.outputs[0].norm)
    return {name: math.log(np.median(norms)) for name, norms in found.items() if min(norms) > 0}


@pytest.mark.parametrize("how", ["add", "baddbmm"])
@pytest.mark.parametrize(("sd", "slope"), [(0.02, 1.0), (0.25, 0.25), (0.25, 1.0), (0.5, 1.0)])
def test_a_ramp_on_the_logits_lets_queries_and_keys_through(how, sd, slope):
    real = measured(lambda: Ramp(how, sd, slope), (4, 8, 16))
    levels = predict(describe(Ramp(how, sd, slope), (((4, 8, 16), "float32"),))).levels
    for name in ("q", "k", "v"):
        assert levels[name].median == pytest.approx(real[name], abs=0.25), name


class Causal(nn.Module):
    """Two heads."""

    def __init__(self, gain):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(32, 32, bias=False) for _ in range(3))
        for layer in (self.q, self.k, self.v):
            nn.init.normal_(layer.weight, std=gain * 32**-0.5)

    def forward(self, x):
        layers = (self.q, self.k, self.v)
        q, k, v = (layer(x).view(4, -1, 2, 16).transpose(1, 2) for layer in layers)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return mixed.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("gain", [0.1, 1.0, 1.5])
def test_causal_attention_lets_queries_and_keys_through(gain):
    real = measured(lambda: Causal(gain), (4, 16, 32))
    levels = predict(describe(Causal(gain), (((4, 16, 32), "float32"),))).levels
    for name in ("q", "k", "v"):
        assert levels[name].median == pytest.approx(real[name], abs=0.15), name


class Decay(nn.Module):
    """A selective state space: h = exp(A dt) h + dt x, with A < 0 and dt > 0."""

    def __init__(self, steps=12):
        super().__init__()
        self.steps = steps
        self.dt, self.x, self.out = nn.Linear(8, 32), nn.Linear(8, 32), nn.Linear(32, 4)
        nn.init.normal_(self.dt.weight, std=0.5)
        self.log_a = nn.Parameter(torch.log(torch.arange(1.0, 17.0)).repeat(2))

    def forward(self, x):
        decay = -torch.exp(self.log_a.float())
        dt, inside = functional.softplus(self.dt(x) - 3.0), self.x(x)
        state = torch.zeros(len(x), 32)
        for i in range(self.steps):
            state = torch.exp(decay * dt[:, i]) * state + dt[:, i] * inside[:, i]
        return self.out(state)


def test_a_decay_stays_one():
    """An exponential of a constant below zero is below one, and its square is no overflow."""
    real = measured(Decay, (5, 12, 8))
    found = predict(describe(Decay(), (((5, 12, 8), "float32"),)))
    assert not any("overflow" in note for note in found.expected.notes)
    assert math.isfinite(found.total.median)
    assert found.levels["x"].median == pytest.approx(real["x"], abs=0.25)
    assert found.levels["dt"].median == pytest.approx(real["dt"], abs=1.2)  # heavy tails


class Halves(nn.Module):
    """Two parts of one activation, multiplied."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(40, 40, bias=False)
        nn.init.normal_(self.first.weight, std=40**-0.5)

    def forward(self, x):
        left, right = torch.relu(self.first(x)).unbind(1)
        return left * right


def test_parts_keep_the_law_and_are_independent():
    spec = describe(Halves(), (((6, 2, 40), "float32"),))
    parts = predict(spec).expected.operations
    unbound = next(o for o in parts if o.type == "unbind")
    assert unbound.forward.zeros == pytest.approx(0.5, abs=0.01)
    product = next(o for o in parts if o.type == "mul")
    assert product.forward.rms == pytest.approx(
        0.5, rel=0.02
    )  # of one and the same: sqrt(E[x^4]) = 1.22
    assert product.forward.zeros == pytest.approx(0.75, abs=0.02)


class Growth(nn.Module):
    """What really overflows."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        y = torch.exp(200 * self.a(x))
        for _ in range(4):
            y = y * torch.exp(100 * self.b(x)) + x
        return y


def test_an_overflow_is_told():
    found = predict(describe(Growth(), (((4, 8), "float32"),)))
    assert any("overflows at exp" in note for note in found.expected.notes)
