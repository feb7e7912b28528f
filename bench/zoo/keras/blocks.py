"""Parts that the Keras architectures share: functions of a symbolic tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

Layer = Callable[[Any], Any]


def normal(gain: float = 1.0) -> Any:
    """Normal with ``Var W = gain^2 / fan_in``."""
    return keras.initializers.VarianceScaling(gain**2, "fan_in", "untruncated_normal")


def he() -> Any:
    """Normal with ``Var W = 2 / fan_in``."""
    return normal(math.sqrt(2))


def chain(x: Any, *parts: Layer | None) -> Any:
    """One after the other; None is left out."""
    for part in parts:
        x = x if part is None else part(x)
    return x


def model(inputs: Any, x: Any) -> Any:
    """With 10 logits of one vector a sample."""
    return keras.Model(inputs, layers.Dense(10)(x))


def pooled(inputs: Any, x: Any) -> Any:
    """Global average pool and 10 logits."""
    return model(inputs, layers.GlobalAveragePooling2D()(x))


def activation(name: str) -> Any:
    """A layer of its own."""
    return layers.Activation(name)


def mlp(
    width: int,
    depth: int,
    phi: str,
    initialiser: Any = None,
    *,
    inputs: int = 32,
    before: Callable[[], Layer] | None = None,
    after: Callable[[], Layer] | None = None,
) -> Any:
    """Dense layers, each with ``before`` (a normalisation), an activation and ``after``; 10 logits.

    initialiser: makes one; None is Keras' default.
    """
    start = x = keras.Input((inputs,))
    for _ in range(depth):
        chosen = {"kernel_initializer": initialiser()} if initialiser else {}
        if before is None:
            x = layers.Dense(width, activation=phi, **chosen)(x)
        else:
            x = chain(x, layers.Dense(width, **chosen), before(), activation(phi))
        x = chain(x, after() if after else None)
    return model(start, x)


def conv(width: int, kernel: int = 3, **options: Any) -> Any:
    """A convolution with "same" padding and He initialisation unless said otherwise."""
    chosen: dict[str, Any] = {"padding": "same", "kernel_initializer": he()} | options
    return layers.Conv2D(width, kernel, **chosen)


def cnn(
    shape: tuple[int, ...],
    width: int,
    depth: int,
    phi: str,
    *,
    before: Callable[[], Layer] | None = None,
    **options: Any,
) -> Any:
    """3x3 convolutions, each with ``before`` (a normalisation) and an activation; pool, 10 logits."""
    start = x = keras.Input(shape)
    for _ in range(depth):
        x = chain(x, conv(width, **options), before() if before else None, activation(phi))
    return pooled(start, x)


def residual(x: Any, *parts: Layer) -> Any:
    """``x + branch(x)``."""
    return layers.Add()([x, chain(x, *parts)])


def squeeze_excite(x: Any, channels: int, squeezed: int) -> Any:
    """Channels weighted by a sigmoid of their averages."""
    gate = chain(
        x,
        layers.GlobalAveragePooling2D(keepdims=True),
        conv(squeezed, 1, activation="relu"),
        conv(channels, 1, activation="sigmoid", kernel_initializer="glorot_uniform"),
    )
    return layers.Multiply()([x, gate])


def feed_forward(width: int, hidden: int, phi: str) -> list[Layer]:
    """Two dense layers with an activation between them."""
    return [layers.Dense(hidden, activation=phi), layers.Dense(width)]


def self_attention(heads: int, size: int, *, causal: bool = False) -> Layer:
    """Keras' own multi-head attention of a tensor with itself."""
    layer = layers.MultiHeadAttention(heads, size)
    return lambda x: layer(x, x, use_causal_mask=causal)


class StandardisedConv2D(layers.Conv2D):
    """Weight standardisation (Qiao 2019, 1903.10520)."""

    def call(self, inputs: Any) -> Any:
        """Inputs (batch, height, width, channels)."""
        kernel = self.kernel
        kernel = kernel - ops.mean(kernel, axis=(0, 1, 2), keepdims=True)
        kernel = kernel / (ops.std(kernel, axis=(0, 1, 2), keepdims=True) + 1e-5)
        kernel = kernel / math.sqrt(math.prod(kernel.shape[:3]))
        return ops.conv(inputs, kernel, strides=list(self.strides), padding=self.padding)


class Positions(layers.Layer):
    """Learned positions added to tokens."""

    def build(self, shape: Any) -> None:
        """Shape (batch, tokens, width)."""
        self.table = self.add_weight(
            shape=tuple(shape[1:]), initializer=keras.initializers.RandomNormal(stddev=0.02)
        )

    def call(self, inputs: Any) -> Any:
        """Inputs (batch, tokens, width)."""
        return inputs + self.table


class LayerScale(layers.Layer):
    """A trainable scale a channel, the same to begin with."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def build(self, shape: Any) -> None:
        """Shape (batch, ..., channels)."""
        self.gamma = self.add_weight(
            shape=(shape[-1],), initializer=keras.initializers.Constant(self.value)
        )

    def call(self, inputs: Any) -> Any:
        """Inputs (batch, ..., channels)."""
        return inputs * self.gamma
