"""Small networks in words: the sick and healthy examples of rules, built alike in each framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class NetworkCase:
    """A network, its data and its training in words; `tests/build_torch.py` and
    `tests/build_keras.py` make it real.

    Layers: `depth` hidden blocks of `width` units (dense, 32 input features) or channels
    (3x3 convolutions with padding on 1x8x8 images), then a dense end with `classes` outputs.
    A block is weights, normalisation, activation; with `residual` the block is added to its own
    input (all but the first). Weights are normal with `Var W = gain^2 / fan_in`; gain None is
    the variance-preserving gain of the activation. The last layer always has gain 1.
    Data: standard normal inputs * input_scale + input_shift, labels uniform in 0..classes-1 plus
    label_offset. loss: "logits": cross-entropy on logits; "probabilities": cross-entropy that expects
    probabilities; "mse": mean squared error on one-hot labels (sigmoid head allowed).
    loss_weight multiplies it. half: computed in float16 from float32 weights, without loss scaling.
    """

    layers: Literal["dense", "conv"] = "dense"
    depth: int = 4
    width: int = 64
    activation: str = "relu"
    gain: float | None = None
    normalisation: Literal["batch", "layer"] | None = None
    residual: bool = False
    bias: float = 0.0
    head: Literal["softmax", "sigmoid", "relu"] | None = None
    loss: Literal["logits", "probabilities", "mse"] = "logits"
    loss_weight: float = 1.0
    half: bool = False
    classes: int = 10
    batch: int = 64
    input_scale: float = 1.0
    input_shift: float = 0.0
    input_nan: bool = False
    label_offset: int = 0
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 1e-2
