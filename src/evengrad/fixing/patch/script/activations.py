"""Activations by the names that both frameworks give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

TORCH_MODULES = {
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "gelu": "GELU",
    "silu": "SiLU",
    "selu": "SELU",
    "elu": "ELU",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "mish": "Mish",
    "relu6": "ReLU6",
    "celu": "CELU",
    "hardtanh": "Hardtanh",
    "hardsigmoid": "Hardsigmoid",
    "hardswish": "Hardswish",
    "logsigmoid": "LogSigmoid",
    "linear": "Identity",
}
TORCH_FUNCTIONS = {
    "tanh",
    "sigmoid",
    "relu",
    "selu",
    "celu",
}  # of torch itself; others are in F alone
INPLACE = {"relu", "leaky_relu", "selu", "elu", "silu", "mish", "relu6", "celu"}
KERAS = {
    "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu", "selu", "elu", "softplus", "softsign", "mish",
    "relu6", "linear", "exponential", "hard_sigmoid", "hard_silu", "hard_tanh", "celu", "tanh_shrink",
    "log_sigmoid", "squareplus", "softmax",
}  # fmt: skip
KERAS_LAYERS = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "elu": "ELU", "softmax": "Softmax"}
_SAME = {"swish": "silu", "hardswish": "hard_silu", "leakyrelu": "leaky_relu"}


def plain(name: str) -> str:
    """One name for what has several."""
    return _SAME.get(name.lower(), name.lower())


class Replacement(NamedTuple):
    """Another activation for an old one. slope: of a leaky_relu below zero. shaping: with it the script gets a
    function of its own; see ``changes.activation``.
    """

    old: str
    new: str
    slope: float | None
    shaping: Sequence[float] | None = None

    @property
    def function(self) -> str:
        """What the script calls a shaped activation."""
        return f"shaped_{self.new}"

    @property
    def module(self) -> str:
        """What it calls the module that applies it."""
        return f"Shaped{TORCH_MODULES[self.new]}"
