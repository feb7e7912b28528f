"""Attention and mixers."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from bench.zoo.keras import blocks
from bench.zoo.keras.blocks import chain, model, residual
from bench.zoo.keras.collection import zoo


@zoo.held_out(16, 64, batch=8)
def transformer_pre() -> Any:
    """5 blocks of 64, Keras' own attention with 4 heads, LayerNorm first, GELU."""
    start = x = keras.Input((16, 64))
    for _ in range(5):
        x = residual(x, layers.LayerNormalization(), blocks.self_attention(4, 16))
        x = residual(x, layers.LayerNormalization(), *blocks.feed_forward(64, 256, "gelu"))
    return model(start, chain(x, layers.LayerNormalization(), layers.GlobalAveragePooling1D()))


@zoo.development(16, 48, batch=8)
def transformer_post() -> Any:
    """5 blocks of 48, Keras' own attention with 4 heads, LayerNorm after the sum, ReLU."""
    start = x = keras.Input((16, 48))
    for _ in range(5):
        x = layers.LayerNormalization()(residual(x, blocks.self_attention(4, 12)))
        parts = blocks.feed_forward(48, 192, "relu")
        x = layers.LayerNormalization()(residual(x, *parts))
    return model(start, layers.GlobalAveragePooling1D()(x))


@zoo.held_out(20, batch=8, vocabulary=100)
def causal_tokens() -> Any:
    """Ids, learned positions, 4 blocks of 64, causal attention, LayerNorm first, GELU."""
    start = keras.Input((20,), dtype="int64")
    x = blocks.Positions()(layers.Embedding(100, 64)(start))
    for _ in range(4):
        attention = blocks.self_attention(4, 16, causal=True)
        x = residual(x, layers.LayerNormalization(), attention)
        x = residual(x, layers.LayerNormalization(), *blocks.feed_forward(64, 256, "gelu"))
    return model(start, chain(x, layers.LayerNormalization(), layers.GlobalAveragePooling1D()))


@zoo.development(20, batch=8, vocabulary=100)
def grouped_query() -> Any:
    """Ids, 4 blocks of 64, grouped-query attention (8 and 2 heads), RMSNorm first, SiLU."""
    start = keras.Input((20,), dtype="int64")
    x = layers.Embedding(100, 64)(start)
    for _ in range(4):
        y = layers.RMSNormalization()(x)
        x = layers.Add()([x, layers.GroupQueryAttention(8, 8, 2)(y, y)])
        x = residual(x, layers.RMSNormalization(), *blocks.feed_forward(64, 192, "silu"))
    return model(start, chain(x, layers.RMSNormalization(), layers.GlobalAveragePooling1D()))


@zoo.held_out(16, 16, 3, batch=8)
def mixer() -> Any:
    """MLP-Mixer-like: 4x4 patches, 5 blocks of 64, LayerNorm first, GELU."""
    start = keras.Input((16, 16, 3))
    x = layers.Reshape((16, 64))(layers.Conv2D(64, 4, 4)(start))
    for _ in range(5):
        tokens = blocks.feed_forward(16, 32, "gelu")
        parts = [layers.LayerNormalization(), layers.Permute((2, 1)), *tokens]
        x = residual(x, *parts, layers.Permute((2, 1)))
        x = residual(x, layers.LayerNormalization(), *blocks.feed_forward(64, 128, "gelu"))
    return model(start, chain(x, layers.LayerNormalization(), layers.GlobalAveragePooling1D()))


@zoo.development(32, 32, 3, batch=4)
def vit() -> Any:
    """ViT-like: 8x8 patches, learned positions, 4 blocks of 48, average over the tokens."""
    start = keras.Input((32, 32, 3))
    x = layers.Reshape((16, 48))(layers.Conv2D(48, 8, 8)(start))
    x = blocks.Positions()(x)
    for _ in range(4):
        x = residual(x, layers.LayerNormalization(), blocks.self_attention(3, 16))
        x = residual(x, layers.LayerNormalization(), *blocks.feed_forward(48, 192, "gelu"))
    return model(start, chain(x, layers.LayerNormalization(), layers.GlobalAveragePooling1D()))


@zoo.development(16, 64, batch=8)
def first_token() -> Any:
    """4 blocks of 64, LayerNorm first, ReLU; reads the first token alone."""
    start = x = keras.Input((16, 64))
    for _ in range(4):
        x = residual(x, layers.LayerNormalization(), blocks.self_attention(4, 16))
        x = residual(x, layers.LayerNormalization(), *blocks.feed_forward(64, 128, "relu"))
    return model(start, layers.LayerNormalization()(x)[:, 0])
