"""Names of torch that are not promised: that they are there, and what becomes of us when they are not."""

from __future__ import annotations

import torch
from torch import nn

from evengrad.adapters.torch.probe import probe


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad


class Doubling(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.second(Double.apply(self.first(x)))


def probe_of(model):
    batch = torch.randn(8, 4), torch.randn(8, 2)
    return probe(model, loss=nn.functional.mse_loss, batch=batch)


def test_function_apply_of_c(monkeypatch):
    """From torch 2.14 on, Function.apply is no Python classmethod with a ``__func__``, but one of C's."""
    descriptor = torch._C._FunctionBase.__dict__["apply"]
    monkeypatch.setattr(torch.autograd.Function, "apply", descriptor)
    names = [op.name for op in probe_of(Doubling()).operations]
    assert any("Double" in name for name in names)
    assert torch.autograd.Function.__dict__["apply"] is descriptor
