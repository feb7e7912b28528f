"""Convolutions on a chain, decoders and a U-Net."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
from keras import layers

from bench.zoo.keras import blocks
from bench.zoo.keras.blocks import activation, chain, conv, he, model, pooled, residual
from bench.zoo.keras.collection import zoo


@zoo.held_out(16, 16, 3, batch=8)
def cnn_valid_elu() -> Any:
    """5 3x3 convolutions without padding, 32 channels, ELU, flatten, Glorot."""
    start = x = keras.Input((16, 16, 3))
    for _ in range(5):
        x = layers.Conv2D(32, 3, activation="elu")(x)
    return model(start, layers.Flatten()(x))


@zoo.development(8, 8, 3, batch=16)
def cnn_relu_default() -> Any:
    """10 3x3 convolutions of 32 channels, ReLU, Keras' default initialisation."""
    return blocks.cnn((8, 8, 3), 32, 10, "relu", kernel_initializer="glorot_uniform")


@zoo.held_out(8, 8, 3, batch=16)
def cnn_gelu_he() -> Any:
    """16 5x5 convolutions of 24 channels, GELU, He."""
    return blocks.cnn((8, 8, 3), 24, 16, "gelu", kernel=5)


@zoo.held_out(8, 8, 3, batch=16)
def cnn_batch_norm() -> Any:
    """20 3x3 convolutions of 32 channels, BatchNorm, leaky ReLU."""
    return blocks.cnn((8, 8, 3), 32, 20, "leaky_relu", before=layers.BatchNormalization)


@zoo.development(8, 8, 3, batch=8)
def cnn_group_norm() -> Any:
    """12 3x3 convolutions of 32 channels, GroupNorm with 8 groups, ELU."""
    norm = partial(layers.GroupNormalization, 8)
    return blocks.cnn((8, 8, 3), 32, 12, "elu", before=norm)


@zoo.development(8, 8, 3, batch=8)
def cnn_layer_norm() -> Any:
    """15 3x3 convolutions of 32 channels, LayerNorm over the channels, ReLU."""
    return blocks.cnn((8, 8, 3), 32, 15, "relu", before=layers.LayerNormalization)


@zoo.development(32, 32, 3, batch=8)
def cnn_strided() -> Any:
    """Convolutions with stride 2 and "same" padding on even sizes, 16 to 96 channels, ReLU."""
    start = x = keras.Input((32, 32, 3))
    for width, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (96, 2)):
        x = conv(width, strides=stride, activation="relu")(x)
    return pooled(start, x)


@zoo.held_out(32, 32, 3, batch=4)
def cnn_max_pool() -> Any:
    """VGG-like: three times two convolutions, ReLU, max pool; 32 and 64 channels, two dense layers."""
    start = x = keras.Input((32, 32, 3))
    for width in (32, 64, 64):
        parts = [conv(width, activation="relu"), conv(width, activation="relu")]
        x = chain(x, *parts, layers.MaxPooling2D())
    x = layers.Dense(128, activation="relu", kernel_initializer=he())(layers.Flatten()(x))
    return model(start, x)


@zoo.development(24, 24, 3, batch=8)
def cnn_pools() -> Any:
    """Average pool 2 and overlapping max pool (3, stride 2, same), SELU, 32 channels."""
    start = x = keras.Input((24, 24, 3))
    for pool in (layers.AveragePooling2D(2), layers.MaxPooling2D(3, 2, "same")):
        parts = [conv(32, activation="selu", kernel_initializer="lecun_normal") for _ in range(2)]
        x = chain(x, *parts, pool)
    return model(start, layers.GlobalMaxPooling2D()(x))


@zoo.held_out(16, 16, 3, batch=8)
def cnn_dilated() -> Any:
    """8 3x3 convolutions, dilations 1, 2, 4 in turn, 32 channels, BatchNorm, ReLU."""
    start = x = keras.Input((16, 16, 3))
    for i in range(8):
        parts = [conv(32, dilation_rate=2 ** (i % 3)), layers.BatchNormalization()]
        x = chain(x, *parts, activation("relu"))
    return pooled(start, x)


@zoo.development(64, 8, batch=16)
def conv1d_gated() -> Any:
    """WaveNet-like: 6 causal dilated 1D convolutions, tanh x sigmoid gates, residual, 32 channels."""
    start = x = keras.Input((64, 8))
    x = layers.Conv1D(32, 1)(x)
    for i in range(6):
        options = {"padding": "causal", "dilation_rate": 2 ** (i % 4)}
        value = layers.Conv1D(32, 2, activation="tanh", **options)(x)
        gate = layers.Conv1D(32, 2, activation="sigmoid", **options)(x)
        x = layers.Add()([x, layers.Conv1D(32, 1)(layers.Multiply()([value, gate]))])
    return model(start, layers.GlobalAveragePooling1D()(x))


@zoo.held_out(6, 8, 8, 2, batch=4)
def conv3d() -> Any:
    """4 3x3x3 convolutions of 16 channels, ReLU, He."""
    start = x = keras.Input((6, 8, 8, 2))
    for _ in range(4):
        options = {"padding": "same", "kernel_initializer": he(), "activation": "relu"}
        x = layers.Conv3D(16, 3, **options)(x)
    return model(start, layers.GlobalAveragePooling3D()(x))


@zoo.held_out(32, batch=16)
def decoder() -> Any:
    """Dense, then three transposed convolutions (4, stride 2, same) with BatchNorm and ELU."""
    start = keras.Input((32,))
    x = layers.Reshape((4, 4, 48))(layers.Dense(768)(start))
    for width in (48, 32, 16):
        options = {"strides": 2, "padding": "same"}
        parts = [layers.Conv2DTranspose(width, 4, **options), layers.BatchNormalization()]
        x = chain(x, *parts, activation("elu"))
    return pooled(start, x)


@zoo.development(32, batch=16)
def decoder_plain() -> Any:
    """Transposed convolutions (3, stride 2, and 2, stride 2, same), ReLU, He, no normalisation."""
    start = keras.Input((32,))
    x = layers.Reshape((4, 4, 32))(layers.Dense(512, activation="relu")(start))
    for kernel in (3, 2, 3):
        options = {"strides": 2, "padding": "same", "activation": "relu"}
        x = layers.Conv2DTranspose(32, kernel, kernel_initializer=he(), **options)(x)
    return pooled(start, x)


@zoo.held_out(16, 16, 3, batch=8)
def unet() -> Any:
    """Two steps down (max pool) and up (bilinear), concatenated with what was before; ReLU, He."""
    start = x = keras.Input((16, 16, 3))
    before = []
    for width in (16, 32):
        x = conv(width, activation="relu")(x)
        before.append(x)
        x = layers.MaxPooling2D()(x)
    x = conv(32, activation="relu")(x)
    for width in (32, 16):
        x = layers.UpSampling2D(interpolation="bilinear")(x)
        x = layers.Concatenate()([x, before.pop()])
        x = conv(width, activation="relu")(x)
    return pooled(start, x)


@zoo.held_out(16, 16, 3, batch=8)
def separable() -> Any:
    """8 separable convolutions, 32 and 64 channels, BatchNorm, ReLU, Keras' default initialisation."""
    start = x = keras.Input((16, 16, 3))
    x = conv(32)(x)
    for i in range(8):
        width, stride = (32, 1) if i < 4 else (64, 2 if i == 4 else 1)
        parts = [layers.SeparableConv2D(width, 3, stride, "same"), layers.BatchNormalization()]
        x = chain(x, *parts, activation("relu"))
    return pooled(start, x)


@zoo.development(8, 8, 3, batch=8)
def inverted_residual() -> Any:
    """MobileNet v2-like: 6 blocks, 24 channels expanded to 96, depthwise, ReLU6, linear end."""
    start = x = keras.Input((8, 8, 3))
    x = conv(24)(x)
    norm = layers.BatchNormalization
    for _ in range(6):
        parts = [conv(96, 1, use_bias=False), norm(), layers.ReLU(6)]
        parts += [layers.DepthwiseConv2D(3, padding="same", use_bias=False), norm()]
        parts += [layers.ReLU(6), conv(24, 1, use_bias=False), norm()]
        x = residual(x, *parts)
    return pooled(start, x)


@zoo.held_out(8, 8, 3, batch=8)
def grouped() -> Any:
    """10 convolutions, all but the first in 8 groups, 64 channels, BatchNorm, SiLU."""
    start = x = keras.Input((8, 8, 3))
    x = conv(64)(x)
    for _ in range(9):
        parts = [conv(64, groups=8), layers.BatchNormalization(), activation("silu")]
        x = chain(x, *parts)
    return pooled(start, x)
