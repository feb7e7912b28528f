"""Residual, dense and gated blocks."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers

from bench.zoo.keras import blocks
from bench.zoo.keras.blocks import activation, chain, conv, he, model, pooled, residual
from bench.zoo.keras.collection import zoo


@zoo.development(16, 16, 3, batch=8)
def resnet_post() -> Any:
    """ResNet v1 with bottlenecks: 5 blocks of 16-16-64 channels, ReLU after the sum, Glorot."""
    norm = layers.BatchNormalization
    start = keras.Input((16, 16, 3))
    x = chain(start, conv(64), norm(), activation("relu"))
    for _ in range(5):
        parts = [conv(16, 1, kernel_initializer="glorot_uniform"), norm(), activation("relu")]
        parts += [conv(16, 3, kernel_initializer="glorot_uniform"), norm(), activation("relu")]
        parts += [conv(64, 1, kernel_initializer="glorot_uniform"), norm()]
        x = activation("relu")(residual(x, *parts))
    return pooled(start, x)


@zoo.held_out(16, 16, 3, batch=8)
def resnet_pre() -> Any:
    """ResNet v2: 8 blocks of 16 and 32 channels, stride 2 once with a 1x1 shortcut, GELU."""
    norm = layers.BatchNormalization
    start = keras.Input((16, 16, 3))
    x = conv(16)(start)
    for i in range(8):
        width, stride = 16 if i < 4 else 32, 2 if i == 4 else 1
        y = chain(x, norm(), activation("gelu"))
        short = conv(width, 1, strides=stride)(y) if stride > 1 else x
        parts = [conv(width, strides=stride), norm(), activation("gelu"), conv(width)]
        x = layers.Add()([short, chain(y, *parts)])
    return pooled(start, chain(x, norm(), activation("gelu")))


@zoo.development(32, batch=32)
def residual_scaled() -> Any:
    """24 dense residual blocks of 96, tanh, branch x 1/sqrt(24), no normalisation."""
    start = keras.Input((32,))
    x = layers.Dense(96)(start)
    for _ in range(24):
        parts = [activation("tanh"), layers.Dense(96, kernel_initializer=he())]
        x = residual(x, *parts, layers.Rescaling(1 / math.sqrt(24)))
    return model(start, x)


@zoo.held_out(8, 8, 3, batch=8)
def residual_plain() -> Any:
    """8 convolutional residual blocks of 32, two layers and ReLU each, He, no normalisation: explodes."""
    start = keras.Input((8, 8, 3))
    x = conv(32)(start)
    for _ in range(8):
        x = residual(x, conv(32, activation="relu"), conv(32))
    return pooled(start, x)


@zoo.development(16, 16, 3, batch=8)
def densenet() -> Any:
    """DenseNet-like with bottlenecks: 6 and 4 layers, growth 8, BatchNorm-ReLU, average pool between."""
    norm = layers.BatchNormalization
    start = keras.Input((16, 16, 3))
    x = conv(16)(start)
    for count in (6, 4):
        for _ in range(count):
            parts = [norm(), activation("relu"), conv(32, 1, use_bias=False)]
            parts += [norm(), activation("relu"), conv(8, use_bias=False)]
            x = layers.Concatenate()([x, chain(x, *parts)])
        x = chain(x, norm(), activation("relu"), conv(32, 1), layers.AveragePooling2D(2))
    return pooled(start, x)


@zoo.held_out(12, 12, 3, batch=8)
def inception() -> Any:
    """3 blocks of 1x1, 3x3 and 5x5 convolutions and a pool side by side, concatenated; ReLU, He."""
    start = x = keras.Input((12, 12, 3))
    for _ in range(3):
        parts = [conv(16, k, activation="relu")(x) for k in (1, 3, 5)]
        pool = layers.MaxPooling2D(3, 1, "same")(x)
        x = layers.Concatenate()([*parts, conv(16, 1, activation="relu")(pool)])
    return pooled(start, x)


@zoo.development(8, 8, 3, batch=8)
def squeeze_excite() -> Any:
    """5 residual blocks with squeeze-and-excitation, 32 channels, BatchNorm, SiLU."""
    norm = layers.BatchNormalization
    start = keras.Input((8, 8, 3))
    x = conv(32)(start)
    for _ in range(5):
        y = chain(x, conv(32), norm(), activation("silu"), conv(32), norm())
        x = activation("silu")(layers.Add()([x, blocks.squeeze_excite(y, 32, 8)]))
    return pooled(start, x)


@zoo.held_out(32, 32, 3, batch=4)
def convnext() -> Any:
    """ConvNeXt-like: 4x4 patches, 5 blocks of 64, 7x7 depthwise, LayerNorm, GELU, LayerScale 1e-2."""
    start = keras.Input((32, 32, 3))
    x = chain(start, layers.Conv2D(64, 4, 4), layers.LayerNormalization())
    for _ in range(5):
        parts = [layers.DepthwiseConv2D(7, padding="same"), layers.LayerNormalization()]
        parts += [*blocks.feed_forward(64, 256, "gelu"), blocks.LayerScale(1e-2)]
        x = residual(x, *parts)
    return model(start, chain(x, layers.GlobalAveragePooling2D(), layers.LayerNormalization()))


@zoo.development(8, 8, 3, batch=8)
def weight_standardised() -> Any:
    """8 weight-standardised 3x3 convolutions of 32 channels, ReLU with gain sqrt(2), no normalisation."""
    start = x = keras.Input((8, 8, 3))
    for _ in range(8):
        parts = [blocks.StandardisedConv2D(32, 3, padding="same"), activation("relu")]
        x = chain(x, *parts, layers.Rescaling(math.sqrt(2)))
    return pooled(start, x)
