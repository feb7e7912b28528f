"""Dense layers."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from bench.zoo.torch import blocks
from bench.zoo.torch.blocks import he, initialise, normal
from bench.zoo.torch.collection import zoo


@zoo.development(32, batch=32)
def mlp_relu_he() -> Any:
    """30 dense layers of 64, ReLU, He."""
    return initialise(blocks.mlp(64, 30, nn.ReLU), he)


@zoo.held_out(32, batch=64)
def mlp_tanh_glorot() -> Any:
    """50 dense layers of 128, tanh, Glorot."""
    return initialise(blocks.mlp(128, 50, nn.Tanh), nn.init.xavier_normal_)


@zoo.development(32, batch=16)
def mlp_sigmoid() -> Any:
    """10 dense layers of 256, sigmoid, variance 1/fan_in."""
    return initialise(blocks.mlp(256, 10, nn.Sigmoid), normal)


@zoo.held_out(32, batch=32)
def mlp_gelu_default() -> Any:
    """20 dense layers of 128, GELU, PyTorch's default initialisation."""
    return blocks.mlp(128, 20, nn.GELU)


@zoo.development(32, batch=32)
def mlp_selu_deep() -> Any:
    """100 dense layers of 64, SELU, variance 1/fan_in."""
    return initialise(blocks.mlp(64, 100, nn.SELU), normal)


@zoo.held_out(32, batch=8)
def mlp_leaky_too_large() -> Any:
    """20 dense layers of 512, leaky ReLU 0.1, He x 1.3: explodes."""
    network = blocks.mlp(512, 20, partial(nn.LeakyReLU, 0.1))
    return initialise(network, partial(he, gain=1.3))


@zoo.development(32, batch=32)
def mlp_tanh_orthogonal() -> Any:
    """40 dense layers of 64, tanh, orthogonal with gain 5/3."""
    return initialise(blocks.mlp(64, 40, nn.Tanh), partial(nn.init.orthogonal_, gain=5 / 3))


@zoo.held_out(32, batch=32)
def mlp_mish_small() -> Any:
    """15 dense layers of 96, Mish, half of the variance-keeping standard deviation."""
    return initialise(blocks.mlp(96, 15, nn.Mish), partial(normal, gain=0.74))


@zoo.development(32, batch=32)
def mlp_layer_norm() -> Any:
    """30 dense layers of 64, LayerNorm before ReLU."""
    return initialise(blocks.mlp(64, 30, nn.ReLU, after=nn.LayerNorm), he)


@zoo.held_out(32, batch=16)
def mlp_rms_norm() -> Any:
    """20 dense layers of 128, RMSNorm before SiLU, default initialisation."""
    return blocks.mlp(128, 20, nn.SiLU, after=nn.RMSNorm)


@zoo.development(32, batch=64)
def mlp_batch_norm_elu() -> Any:
    """20 dense layers of 128, BatchNorm before ELU, batch 64."""
    return initialise(blocks.mlp(128, 20, nn.ELU, after=nn.BatchNorm1d), he)


@zoo.held_out(32, batch=8)
def mlp_batch_norm_small_batch() -> Any:
    """10 dense layers of 64, BatchNorm before ReLU, batch 8."""
    return initialise(blocks.mlp(64, 10, nn.ReLU, after=nn.BatchNorm1d), he)


@zoo.development(32, batch=32)
def mlp_dropout() -> Any:
    """12 dense layers of 256, ReLU and 30% dropout, He."""

    def activation() -> nn.Module:
        return nn.Sequential(nn.ReLU(), nn.Dropout(0.3))

    return initialise(blocks.mlp(256, 12, activation), he)


@zoo.held_out(32, batch=32)
def mlp_norm_after() -> Any:
    """20 dense layers of 96, LayerNorm after GELU."""

    def activation() -> nn.Module:
        return nn.Sequential(nn.GELU(), nn.LayerNorm(96))

    return initialise(blocks.mlp(96, 20, activation), normal)
