"""The networks: real shapes, random data that stays the same, short enough steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Net:
    """about: one line. make: the model, from the same seed each time. batch: inputs and targets."""

    name: str
    about: str
    make: Callable[[], nn.Module]
    batch: Callable[[], tuple[Any, Any]]


class Residual(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a shortcut (He 2016, 1512.03385, option A)."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.stride = width // before
        self.conv1 = nn.Conv2d(before, width, 3, self.stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.more = width - before

    def forward(self, x: Any) -> Any:
        """Batch, channels, height, width."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        shortcut = F.pad(
            x[:, :, :: self.stride, :: self.stride],
            (0, 0, 0, 0, self.more // 2, self.more // 2),
        )
        return F.relu(self.norm2(self.conv2(y)) + shortcut, inplace=True)


class Transformer(nn.Module):
    """Twelve pre-norm decoder layers of width 384, 1,024 words: 22 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(1024, 384)
        self.places = nn.Parameter(torch.randn(64, 384) * 0.02)
        layer = nn.TransformerEncoderLayer(
            384, 6, 1536, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(384)
        self.head = nn.Linear(384, 1024, bias=False)

    def forward(self, tokens: Any) -> Any:
        """Batch, length -> batch, words, length, as cross entropy wants it."""
        length = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        x = self.words(tokens) + self.places[:length]
        return self.head(self.norm(self.layers(x, mask, is_causal=True))).transpose(1, 2)


def article_cnn() -> nn.Module:
    """The article's, 4.7 M parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 24 * 24, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def _resnet() -> nn.Module:
    widths = [16] * 4 + [32] * 3 + [64] * 3
    blocks = [Residual(a, b) for a, b in pairwise(widths)]
    stem = (nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def _images(*shape: int) -> Callable[[], tuple[Any, Any]]:
    return lambda: (torch.randn(*shape), torch.randint(0, 10, (shape[0],)))


def _text(sequences: int, length: int) -> tuple[Any, Any]:
    tokens = torch.randint(0, 1024, (sequences, length + 1))
    return tokens[:, :-1], tokens[:, 1:]


NETS = {
    net.name: net
    for net in (
        Net(
            "article-cnn",
            "the article's CNN, 4.7 M parameters, 32 images of 28x28x1",
            article_cnn,
            _images(32, 1, 28, 28),
        ),
        Net(
            "resnet20",
            "ResNet-20, 0.27 M parameters, 32 images of 32x32x3",
            _resnet,
            _images(32, 3, 32, 32),
        ),
        Net(
            "transformer",
            "12 layers of width 384, 22 M parameters, 4 sequences of 32 tokens",
            Transformer,
            lambda: _text(4, 32),
        ),
    )
}
