"""Residual, dense and gated blocks."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from torch import nn

from bench.zoo.torch import blocks
from bench.zoo.torch.blocks import Residual, end, he, initialise
from bench.zoo.torch.collection import zoo


def _conv_norm(inputs: int, outputs: int, **options: Any) -> list[nn.Module]:
    options = {"padding": 1, "bias": False} | options
    return [nn.Conv2d(inputs, outputs, 3, **options), nn.BatchNorm2d(outputs)]


@zoo.held_out(3, 16, 16, batch=8)
def resnet_post() -> Any:
    """ResNet v1: 6 blocks of 16 and 32 channels, ReLU after the sum, stride 2 once; default weights."""
    layers: list[nn.Module] = [*_conv_norm(3, 16), nn.ReLU()]
    for inputs, outputs, stride in ((16, 16, 1),) * 3 + ((16, 32, 2),) + ((32, 32, 1),) * 2:
        branch = [*_conv_norm(inputs, outputs, stride=stride), nn.ReLU()]
        branch += _conv_norm(outputs, outputs)
        short = None
        if stride > 1:
            short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        layers += [Residual(nn.Sequential(*branch), shortcut=short, after=nn.ReLU())]
    return nn.Sequential(*layers, *end(32))


@zoo.development(3, 8, 8, batch=8)
def resnet_pre() -> Any:
    """ResNet v2: 16 blocks of 16 channels, BatchNorm and ReLU before each convolution, He."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1)]
    for _ in range(16):
        branch = nn.Sequential(
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1, bias=False),
        )
        layers += [Residual(branch)]
    return initialise(nn.Sequential(*layers, nn.BatchNorm2d(16), nn.ReLU(), *end(16)), he)


@zoo.held_out(32, batch=32)
def residual_scaled() -> Any:
    """32 dense residual blocks of 128, ReLU, branch x 1/sqrt(32), no normalisation."""
    blocks_ = [
        Residual(nn.Sequential(nn.ReLU(), nn.Linear(128, 128)), scale=1 / math.sqrt(32))
        for _ in range(32)
    ]
    return initialise(nn.Sequential(nn.Linear(32, 128), *blocks_, nn.Linear(128, 10)), he)


@zoo.development(32, batch=16)
def residual_plain() -> Any:
    """10 dense residual blocks of 128, two layers and ReLU each, He, no normalisation: explodes."""
    blocks_ = [Residual(blocks.feed_forward(128, 128, nn.ReLU)) for _ in range(10)]
    return initialise(nn.Sequential(nn.Linear(32, 128), *blocks_, nn.Linear(128, 10)), he)


@zoo.held_out(3, 16, 16, batch=8)
def densenet() -> Any:
    """DenseNet-like: two blocks of 5, growth 12, BatchNorm-ReLU-convolution, average pool between."""
    layers: list[nn.Module] = [nn.Conv2d(3, 24, 3, padding=1)]
    channels = 24
    for block in range(2):
        for _ in range(5):
            branch = [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 12, 3, padding=1)]
            layers += [blocks.Dense(nn.Sequential(*branch))]
            channels += 12
        if block == 0:
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 42, 1)]
            layers += [nn.AvgPool2d(2)]
            channels = 42
    layers += [nn.BatchNorm2d(channels), nn.ReLU()]
    return initialise(nn.Sequential(*layers, *end(channels)), he)


@zoo.development(3, 16, 16, batch=8)
def depthwise_separable() -> Any:
    """MobileNet v1-like: 8 depthwise and pointwise pairs, 32 to 96 channels, BatchNorm, ReLU6."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU6()]
    widths = (32, 32, 48, 48, 64, 64, 96, 96, 96)
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        stride = 2 if i == 3 else 1
        layers += [*_conv_norm(inputs, inputs, stride=stride, groups=inputs), nn.ReLU6()]
        layers += [nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU6()]
    return initialise(nn.Sequential(*layers, *end(96)), he)


@zoo.held_out(3, 8, 8, batch=8)
def inverted_residual() -> Any:
    """MobileNet v2-like: 6 blocks, 16 channels expanded to 64, depthwise, linear end, default weights."""
    layers: list[nn.Module] = [*_conv_norm(3, 16), nn.ReLU6()]
    for _ in range(6):
        branch = [nn.Conv2d(16, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU6()]
        branch += [*_conv_norm(64, 64, groups=64), nn.ReLU6()]
        branch += [nn.Conv2d(64, 16, 1, bias=False), nn.BatchNorm2d(16)]
        layers += [Residual(nn.Sequential(*branch))]
    return nn.Sequential(*layers, *end(16))


@zoo.development(3, 8, 8, batch=8)
def grouped_shuffled() -> Any:
    """8 convolutions in 4 groups with channel shuffles, 64 channels, ReLU, He."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1), nn.ReLU()]
    for _ in range(8):
        layers += [nn.Conv2d(64, 64, 3, padding=1, groups=4), nn.ReLU(), nn.ChannelShuffle(4)]
    return initialise(nn.Sequential(*layers, *end(64)), he)


@zoo.held_out(3, 8, 8, batch=8)
def squeeze_excite() -> Any:
    """6 residual blocks with squeeze-and-excitation, 32 channels, BatchNorm, ReLU."""
    layers: list[nn.Module] = [*_conv_norm(3, 32), nn.ReLU()]
    for _ in range(6):
        branch = [*_conv_norm(32, 32), nn.ReLU(), *_conv_norm(32, 32), blocks.SqueezeExcite(32, 8)]
        layers += [Residual(nn.Sequential(*branch), after=nn.ReLU())]
    return initialise(nn.Sequential(*layers, *end(32)), he)


@zoo.development(3, 32, 32, batch=4)
def convnext() -> Any:
    """ConvNeXt-like: 4x4 patches, 6 blocks of 48, 7x7 depthwise, LayerNorm, GELU, LayerScale 0.1."""
    layers: list[nn.Module] = [nn.Conv2d(3, 48, 4, 4), blocks.ChannelNorm(48)]
    for _ in range(6):
        branch = [nn.Conv2d(48, 48, 7, padding=3, groups=48), blocks.ChannelNorm(48)]
        branch += [nn.Conv2d(48, 192, 1), nn.GELU(), nn.Conv2d(192, 48, 1)]
        branch += [blocks.LayerScale(48, 0.1)]
        layers += [Residual(nn.Sequential(*branch))]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(48), nn.Linear(48, 10)
    )


@zoo.held_out(3, 8, 8, batch=8)
def weight_standardised() -> Any:
    """12 weight-standardised 3x3 convolutions of 48 channels, GroupNorm, ReLU."""
    layers: list[nn.Module] = []
    for i in range(12):
        layers += [blocks.StandardisedConv2d(48 if i else 3, 48, 3, padding=1)]
        layers += [nn.GroupNorm(6, 48), nn.ReLU()]
    return nn.Sequential(*layers, *end(48))
