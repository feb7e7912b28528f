"""Parts that the PyTorch architectures share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Initialiser = Callable[[Tensor], Any]


def he(weight: Tensor, gain: float = 1.0) -> None:
    """Normal with ``Var W = 2 gain^2 / fan_in``."""
    normal(weight, math.sqrt(2) * gain)


def normal(weight: Tensor, gain: float = 1.0) -> None:
    """Normal with ``Var W = gain^2 / fan_in``."""
    fan_in = weight[0].numel()
    nn.init.normal_(weight, 0.0, gain / math.sqrt(fan_in))


def initialise(model: nn.Module, initialiser: Initialiser) -> nn.Module:
    """Fill the weights of convolutions and dense layers; biases become zero."""
    for module in model.modules():
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if isinstance(weight, Tensor) and weight.ndim >= 2 and not isinstance(module, nn.Embedding):
            initialiser(weight)
            if isinstance(bias, Tensor):
                nn.init.zeros_(bias)
    return model


def mlp(
    width: int,
    depth: int,
    activation: Callable[[], nn.Module],
    *,
    inputs: int = 32,
    after: Callable[[int], nn.Module] | None = None,
) -> nn.Sequential:
    """Dense layers, each with ``after`` (a normalisation) and an activation, and a linear end."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(width if i else inputs, width)]
        layers += [after(width)] if after else []
        layers += [activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def end(channels: int) -> list[nn.Module]:
    """Global average pool and a linear end."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


def cnn(
    width: int,
    depth: int,
    activation: Callable[[], nn.Module],
    *,
    after: Callable[[int], nn.Module] | None = None,
    **options: Any,
) -> nn.Sequential:
    """3x3 convolutions with "same" padding, each with ``after`` and an activation; pool, linear end."""
    options = {"padding": 1} | options
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Conv2d(width if i else 3, width, 3, **options)]
        layers += [after(width)] if after else []
        layers += [activation()]
    return nn.Sequential(*layers, *end(width))


class Residual(nn.Module):
    """``after(scale * branch(x) + shortcut(x))``."""

    def __init__(
        self,
        branch: nn.Module,
        *,
        shortcut: nn.Module | None = None,
        after: nn.Module | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.branch, self.shortcut, self.after = branch, shortcut, after
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """X of any shape that the branch takes."""
        y = self.branch(x)
        if self.scale != 1.0:
            y = y * self.scale
        y = y + (x if self.shortcut is None else self.shortcut(x))
        return y if self.after is None else self.after(y)


class Dense(nn.Module):
    """``concatenate(x, branch(x))`` along the channels."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """X (batch, channels, height, width)."""
        return torch.cat([x, self.branch(x)], dim=1)


class SqueezeExcite(nn.Module):
    """Channels weighted by a sigmoid of their averages."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """X (batch, channels, height, width)."""
        return x * self.gate(x)


class StandardisedConv2d(nn.Conv2d):
    """Weight standardisation (Qiao 2019, 1903.10520)."""

    def forward(self, x: Tensor) -> Tensor:
        """X (batch, channels, height, width)."""
        w = self.weight
        w = w - w.mean(dim=(1, 2, 3), keepdim=True)
        w = w / (w.std(dim=(1, 2, 3), keepdim=True) + 1e-5)
        w = w / math.sqrt(w[0].numel())
        return functional.conv2d(x, w, self.bias, self.stride, self.padding)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of images."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """X (batch, channels, height, width)."""
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LayerScale(nn.Module):
    """A trainable scale a channel, the same to begin with."""

    def __init__(self, channels: int, value: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels, 1, 1), value))

    def forward(self, x: Tensor) -> Tensor:
        """X (batch, channels, height, width)."""
        return x * self.gamma


class SelfAttention(nn.Module):
    """Multi-head self-attention from its parts; causal if asked."""

    def __init__(self, width: int, heads: int, *, causal: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """X (batch, tokens, width)."""
        b, t, w = x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (z.view(b, t, self.heads, w // self.heads).transpose(1, 2) for z in (q, k, v))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(b, t, w))


class SwiGLU(nn.Module):
    """``down(silu(gate(x)) * up(x))`` (Shazeer 2020, 2002.05202)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """X (batch, tokens, width)."""
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class Transposed(nn.Module):
    """A module that works along the tokens instead of the features."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """X (batch, tokens, width)."""
        return self.module(x.transpose(1, 2)).transpose(1, 2)


class Patches(nn.Module):
    """Images to tokens: a convolution with stride = kernel, and learned positions."""

    def __init__(self, patch: int, width: int, tokens: int, *, positions: bool = False) -> None:
        super().__init__()
        self.project = nn.Conv2d(3, width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens, width)) if positions else None

    def forward(self, x: Tensor) -> Tensor:
        """X (batch, 3, height, width); makes (batch, tokens, width)."""
        x = self.project(x).flatten(2).transpose(1, 2)
        return x if self.positions is None else x + self.positions


class Tokens(nn.Module):
    """Token ids to vectors, with learned positions."""

    def __init__(self, vocabulary: int, width: int, tokens: int, scale: float = 0.02) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(scale * torch.randn(1, tokens, width))
        nn.init.normal_(self.token.weight, 0.0, scale)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (batch, tokens); makes (batch, tokens, width)."""
        return self.token(ids) + self.position


class MeanOverTokens(nn.Module):
    """(batch, tokens, width) to (batch, width)."""

    def forward(self, x: Tensor) -> Tensor:
        """X (batch, tokens, width)."""
        return x.mean(dim=1)


def feed_forward(width: int, hidden: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Two dense layers with an activation between them."""
    return nn.Sequential(nn.Linear(width, hidden), activation(), nn.Linear(hidden, width))


def pre_norm(norm: nn.Module, branch: nn.Module) -> Residual:
    """``x + branch(norm(x))``."""
    return Residual(nn.Sequential(norm, branch))
