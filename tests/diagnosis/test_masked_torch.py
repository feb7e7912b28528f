"""A gradient that the weights' own gradient does not see explodes for nobody."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import evengrad


class CosineAttention(nn.Module):
    """As in Swin V2: keys of unit length, over windows that are filled up with zeros."""

    def __init__(self, width=16, padding=4, bias=False):
        super().__init__()
        self.padding = padding
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width, bias=bias)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, 4)

    def forward(self, x):
        rows = x.shape[1]
        x = F.pad(x, (0, 0, 0, self.padding))
        q, k = F.normalize(self.query(x), dim=-1), F.normalize(self.key(x), dim=-1)
        mixed = (10 * q @ k.transpose(-1, -2)).softmax(-1) @ self.value(x)
        return self.out(mixed[:, :rows].mean(1))


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_padding(seed):
    torch.manual_seed(seed)
    x, y = torch.randn(8, 6, 16), torch.randint(4, (8,))
    found = evengrad.check(CosineAttention(), loss=nn.CrossEntropyLoss(), batch=(x, y))
    huge = max(port.norm for op in found.probe.operations for port in op.outputs)
    assert huge > 1e6  # at the keys of the padding
    assert not found.findings
