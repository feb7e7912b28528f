"""PyTorch against the plain float64 reference."""

import numpy as np
import pytest
import reference
import torch
from networks import EPSILON, NETWORKS, make, steps
from torch import nn

import evengrad
from evengrad.diagnosis.budget import budget, operations_on_path


class Net(nn.Module):
    def __init__(self, name, weights):
        super().__init__()
        self.steps = steps(name)
        for kind, layer in self.steps:
            if layer:
                w = {k[1]: torch.from_numpy(v) for k, v in weights.items() if k[0] == layer}
                self.add_module(layer, self.make(kind, w))

    @staticmethod
    def make(kind, w):
        if kind == "conv":
            layer = nn.Conv2d(w["kernel"].shape[2], w["kernel"].shape[3], 3, padding=1)
            kernel = w["kernel"].permute(3, 2, 0, 1)
        elif kind == "depthwise":
            channels = w["kernel"].shape[2]
            layer = nn.Conv2d(channels, channels, 3, stride=2, groups=channels)
            kernel = w["kernel"].permute(2, 3, 0, 1)
        elif kind == "dense":
            layer, kernel = nn.Linear(*w["kernel"].shape), w["kernel"].T
        else:
            features = len(w["gamma"])
            norm = nn.BatchNorm2d if kind == "bn" else nn.LayerNorm
            layer, kernel = norm(features, eps=EPSILON), w["gamma"]
        bias = w["bias"] if "bias" in w else w["beta"]
        with torch.no_grad():
            layer.weight.copy_(kernel)
            layer.bias.copy_(bias)
        return layer

    def forward(self, x):
        kept = []
        for kind, layer in self.steps:
            if layer:
                x = getattr(self, layer)(x)
            elif kind == "save":
                kept.append(x)
            elif kind == "add":
                x = x + kept.pop()
            elif kind == "flatten":  # the reference flattens NHWC
                x = torch.flatten(x.permute(0, 2, 3, 1), 1)
            else:
                x = getattr(torch, kind)(x)
        return x


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_budget_equals_the_reference(name, seed):
    weights, (x, y) = make(name, seed)
    gains, total = reference.budget(name, weights, (x, y))
    images = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()
    probe = evengrad.check(
        Net(name, weights), loss=nn.CrossEntropyLoss(), batch=(images, torch.from_numpy(y))
    ).probe
    found = [op for op in operations_on_path(probe) if op.type not in ("permute",)]
    assert len(found) == len(gains)
    for op, (kind, expected) in zip(found, gains, strict=True):
        assert op.log_gain == pytest.approx(expected, abs=1e-3), (op.name, kind)
    assert budget(probe).total == pytest.approx(total, abs=1e-3)
    assert np.isfinite(total)
