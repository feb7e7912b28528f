"""Attention and mixers."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.zoo.torch import blocks
from bench.zoo.torch.blocks import initialise, normal, pre_norm
from bench.zoo.torch.collection import zoo


@zoo.development(16, 64, batch=8)
def transformer_pre() -> Any:
    """6 blocks of 64, 4 heads, LayerNorm first, GELU, default weights; vectors as input."""
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [pre_norm(nn.LayerNorm(64), blocks.SelfAttention(64, 4))]
        layers += [pre_norm(nn.LayerNorm(64), blocks.feed_forward(64, 256, nn.GELU))]
    tail = [nn.LayerNorm(64), blocks.MeanOverTokens(), nn.Linear(64, 10)]
    return nn.Sequential(*layers, *tail)


@zoo.held_out(16, 64, batch=8)
def transformer_post() -> Any:
    """6 of PyTorch's own encoder layers (LayerNorm last), width 64, 4 heads, ReLU, 10% dropout."""
    layer = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
    return nn.Sequential(encoder, blocks.MeanOverTokens(), nn.Linear(64, 10))


@zoo.development(24, batch=8, vocabulary=200)
def causal_gpt() -> Any:
    """GPT-like: ids, 6 blocks of 96, 6 heads, causal, LayerNorm first, GELU, std 0.02."""
    layers: list[nn.Module] = [blocks.Tokens(200, 96, 24)]
    for _ in range(6):
        layers += [pre_norm(nn.LayerNorm(96), blocks.SelfAttention(96, 6, causal=True))]
        layers += [pre_norm(nn.LayerNorm(96), blocks.feed_forward(96, 384, nn.GELU))]
    tail = [nn.LayerNorm(96), blocks.MeanOverTokens(), nn.Linear(96, 10)]
    return initialise(nn.Sequential(*layers, *tail), partial(nn.init.normal_, std=0.02))


@zoo.held_out(24, batch=8, vocabulary=200)
def causal_llama() -> Any:
    """Llama-like: ids, 5 blocks of 64, RMSNorm first, SwiGLU, causal, no bias, variance 1/fan_in."""
    layers: list[nn.Module] = [blocks.Tokens(200, 64, 24, scale=1.0)]
    for _ in range(5):
        attention = blocks.SelfAttention(64, 4, causal=True, bias=False)
        layers += [pre_norm(nn.RMSNorm(64), attention)]
        layers += [pre_norm(nn.RMSNorm(64), blocks.SwiGLU(64, 160))]
    tail = [nn.RMSNorm(64), blocks.MeanOverTokens(), nn.Linear(64, 10)]
    return initialise(nn.Sequential(*layers, *tail), normal)


@zoo.development(3, 16, 16, batch=8)
def mixer() -> Any:
    """MLP-Mixer-like: 4x4 patches, 6 blocks of 64, LayerNorm first, GELU, Glorot."""
    layers: list[nn.Module] = [blocks.Patches(4, 64, 16)]
    for _ in range(6):
        tokens = blocks.Transposed(blocks.feed_forward(16, 64, nn.GELU))
        layers += [pre_norm(nn.LayerNorm(64), tokens)]
        layers += [pre_norm(nn.LayerNorm(64), blocks.feed_forward(64, 256, nn.GELU))]
    tail = [nn.LayerNorm(64), blocks.MeanOverTokens(), nn.Linear(64, 10)]
    return initialise(nn.Sequential(*layers, *tail), nn.init.xavier_uniform_)


class _Vit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = blocks.Patches(8, 64, 16, positions=True)
        self.first = nn.Parameter(0.02 * torch.randn(1, 1, 64))
        layers = []
        for _ in range(4):
            layers += [pre_norm(nn.LayerNorm(64), blocks.SelfAttention(64, 4))]
            layers += [pre_norm(nn.LayerNorm(64), blocks.feed_forward(64, 256, nn.GELU))]
        self.blocks = nn.Sequential(*layers)
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], dim=1)
        return self.head(self.norm(self.blocks(x))[:, 0])


@zoo.held_out(3, 32, 32, batch=4)
def vit() -> Any:
    """ViT-like: 8x8 patches, class token, learned positions, 4 blocks of 64, reads the class token."""
    return initialise(_Vit(), partial(nn.init.trunc_normal_, std=0.02))
