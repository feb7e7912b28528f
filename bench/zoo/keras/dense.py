"""Dense layers."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
from keras import layers

from bench.zoo.keras import blocks
from bench.zoo.keras.blocks import he, normal
from bench.zoo.keras.collection import zoo


@zoo.development(32, batch=32)
def mlp_tanh_lecun() -> Any:
    """25 dense layers of 128, tanh, LeCun normal (truncated)."""
    return blocks.mlp(128, 25, "tanh", keras.initializers.LecunNormal)


@zoo.held_out(32, batch=32)
def mlp_relu_default() -> Any:
    """15 dense layers of 96, ReLU, Keras' default initialisation (Glorot uniform): vanishes."""
    return blocks.mlp(96, 15, "relu")


@zoo.development(32, batch=16)
def mlp_silu_he() -> Any:
    """20 dense layers of 64, SiLU, He."""
    return blocks.mlp(64, 20, "silu", he)


@zoo.held_out(32, batch=64)
def mlp_elu_he() -> Any:
    """12 dense layers of 256, ELU, He uniform."""
    return blocks.mlp(256, 12, "elu", keras.initializers.HeUniform)


@zoo.development(32, batch=32)
def mlp_softplus() -> Any:
    """8 dense layers of 96, softplus, variance 1/fan_in."""
    return blocks.mlp(96, 8, "softplus", normal)


@zoo.held_out(32, batch=32)
def mlp_selu_deep() -> Any:
    """50 dense layers of 64, SELU, LeCun normal."""
    return blocks.mlp(64, 50, "selu", keras.initializers.LecunNormal)


@zoo.development(32, batch=16)
def mlp_gelu_orthogonal() -> Any:
    """30 dense layers of 128, GELU, orthogonal with gain 1.5."""
    return blocks.mlp(128, 30, "gelu", partial(keras.initializers.Orthogonal, 1.5))


@zoo.held_out(32, batch=32)
def mlp_sigmoid_wide() -> Any:
    """6 dense layers of 512, sigmoid, Keras' default initialisation: vanishes."""
    return blocks.mlp(512, 6, "sigmoid")


@zoo.development(32, batch=32)
def mlp_rms_norm() -> Any:
    """20 dense layers of 96, RMSNorm before tanh."""
    return blocks.mlp(96, 20, "tanh", he, before=layers.RMSNormalization)


@zoo.held_out(32, batch=32)
def mlp_layer_norm() -> Any:
    """20 dense layers of 64, LayerNorm before leaky ReLU."""
    return blocks.mlp(64, 20, "leaky_relu", he, before=layers.LayerNormalization)


@zoo.development(32, batch=8)
def mlp_batch_norm_small_batch() -> Any:
    """10 dense layers of 96, BatchNorm before ReLU, batch 8."""
    return blocks.mlp(96, 10, "relu", he, before=layers.BatchNormalization)


@zoo.held_out(32, batch=48)
def mlp_batch_norm() -> Any:
    """15 dense layers of 96, BatchNorm before GELU, batch 48."""
    return blocks.mlp(96, 15, "gelu", before=layers.BatchNormalization)


@zoo.held_out(32, batch=32)
def mlp_dropout() -> Any:
    """10 dense layers of 128, SiLU and 50% dropout, He."""
    return blocks.mlp(128, 10, "silu", he, after=partial(layers.Dropout, 0.5))


@zoo.development(32, batch=32)
def mlp_norm_after() -> Any:
    """15 dense layers of 128, BatchNorm after ReLU."""
    return blocks.mlp(128, 15, "relu", he, after=layers.BatchNormalization)
