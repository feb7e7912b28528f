"""Convolutions on a chain, decoders and a U-Net."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.zoo.torch import blocks
from bench.zoo.torch.blocks import end, he, initialise, normal
from bench.zoo.torch.collection import zoo


@zoo.development(3, 8, 8, batch=16)
def cnn_relu_he() -> Any:
    """20 3x3 convolutions of 32 channels, ReLU, He, zero padding, 8x8."""
    return initialise(blocks.cnn(32, 20, nn.ReLU), he)


@zoo.held_out(3, 8, 8, batch=16)
def cnn_relu_default() -> Any:
    """12 3x3 convolutions of 64 channels, ReLU, PyTorch's default initialisation: vanishes."""
    return blocks.cnn(64, 12, nn.ReLU)


@zoo.development(3, 8, 8, batch=16)
def cnn_batch_norm() -> Any:
    """30 3x3 convolutions of 32 channels, BatchNorm, ReLU."""
    return initialise(blocks.cnn(32, 30, nn.ReLU, after=nn.BatchNorm2d, bias=False), he)


@zoo.held_out(3, 8, 8, batch=8)
def cnn_group_norm() -> Any:
    """20 3x3 convolutions of 32 channels, GroupNorm with 4 groups, SiLU."""
    return initialise(blocks.cnn(32, 20, nn.SiLU, after=partial(nn.GroupNorm, 4)), he)


@zoo.development(3, 20, 20, batch=8)
def cnn_valid_tanh() -> Any:
    """6 3x3 convolutions without padding, 24 channels, tanh, orthogonal, flatten."""
    layers: list[nn.Module] = []
    for i in range(6):
        layers += [nn.Conv2d(24 if i else 3, 24, 3), nn.Tanh()]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(24 * 8 * 8, 10))
    return initialise(network, partial(nn.init.orthogonal_, gain=1.2))


@zoo.held_out(3, 32, 32, batch=8)
def cnn_strided() -> Any:
    """Convolutions with stride 2, kernels 3, 4 and 5, 16 to 128 channels, leaky ReLU 0.2."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1), nn.LeakyReLU(0.2)]
    for inputs, outputs, kernel in ((16, 32, 3), (32, 64, 4), (64, 128, 5)):
        layers += [nn.Conv2d(inputs, outputs, kernel, 2, 1), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.LeakyReLU(0.2)]
    return initialise(nn.Sequential(*layers, *end(128)), he)


@zoo.development(3, 32, 32, batch=4)
def cnn_max_pool() -> Any:
    """VGG-like: two convolutions, ReLU, max pool, four times; 16 to 64 channels."""
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in (16, 32, 64, 64):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2)]
        inputs = outputs
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10))
    return initialise(network, he)


@zoo.held_out(3, 24, 24, batch=8)
def cnn_pools() -> Any:
    """Overlapping max pool (3, stride 2) and average pool 2, 32 channels, ELU, Glorot."""
    layers: list[nn.Module] = []
    for i in range(3):
        layers += [nn.Conv2d(32 if i else 3, 32, 3, padding=1), nn.ELU()]
        layers += [nn.MaxPool2d(3, 2, 1)] if i % 2 == 0 else [nn.AvgPool2d(2)]
    return initialise(nn.Sequential(*layers, *end(32)), nn.init.xavier_uniform_)


@zoo.development(3, 16, 16, batch=8)
def cnn_dilated() -> Any:
    """8 3x3 convolutions, dilations 1, 2, 4, 8 twice, 32 channels, SiLU, batch norm, 16x16."""
    layers: list[nn.Module] = []
    for i, dilation in enumerate((1, 2, 4, 8) * 2):
        layers += [nn.Conv2d(32 if i else 3, 32, 3, padding=dilation, dilation=dilation)]
        layers += [nn.BatchNorm2d(32), nn.SiLU()]
    return initialise(nn.Sequential(*layers, *end(32)), he)


@zoo.held_out(3, 16, 16, batch=8)
def cnn_dilated_plain() -> Any:
    """6 3x3 convolutions, dilations 1, 2, 4 twice, 48 channels, GELU, no normalisation."""
    layers: list[nn.Module] = []
    for i, dilation in enumerate((1, 2, 4) * 2):
        layers += [nn.Conv2d(48 if i else 3, 48, 3, padding=dilation, dilation=dilation), nn.GELU()]
    return initialise(nn.Sequential(*layers, *end(48)), partial(normal, gain=1.5))


@zoo.development(64, batch=16)
def decoder() -> Any:
    """DCGAN-like: dense, then three transposed convolutions (4, stride 2) with BatchNorm and ReLU."""
    layers: list[nn.Module] = [nn.Linear(64, 64 * 16), nn.Unflatten(1, (64, 4, 4))]
    for inputs, outputs in ((64, 48), (48, 32), (32, 16)):
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, *end(16))


@zoo.held_out(32, batch=8)
def decoder_plain() -> Any:
    """Transposed convolutions (3, stride 2, and 2, stride 2), leaky ReLU, no normalisation."""
    layers: list[nn.Module] = [nn.Linear(32, 512), nn.LeakyReLU(0.2), nn.Unflatten(1, (32, 4, 4))]
    for kernel, padding, extra in ((3, 1, 1), (2, 0, 0), (3, 1, 1)):
        layers += [nn.ConvTranspose2d(32, 32, kernel, 2, padding, extra), nn.LeakyReLU(0.2)]
    return initialise(nn.Sequential(*layers, *end(32)), partial(normal, gain=1.4))


class _UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.down = nn.Sequential(
            nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()
        )
        self.up = nn.Upsample(scale_factor=2)
        self.last = nn.Sequential(
            nn.Conv2d(48, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), *end(16)
        )

    def forward(self, x: Tensor) -> Tensor:
        wide = self.first(x)
        return self.last(torch.cat([wide, self.up(self.down(wide))], dim=1))


@zoo.development(3, 16, 16, batch=8)
def unet() -> Any:
    """One step down and up again (nearest), concatenated with what was before; BatchNorm, ReLU."""
    return initialise(_UNet(), he)
