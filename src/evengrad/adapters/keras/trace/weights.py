"""The model's weights: their names, fan-in and penalty."""

from __future__ import annotations

import math
from typing import Any

import keras

from evengrad.adapters.keras import compat

_PLAIN = {"gamma", "beta", "bias", "embeddings", "alpha"}


def trainables(model: Any) -> list[tuple[Any, Any]]:
    """(variable, its layer) of each weight that a gradient could move, frozen ones too, once."""
    found: dict[int, tuple[Any, Any]] = {}
    for layer in compat.layers_of(model):
        for variable in compat.own_weights(layer):
            found.setdefault(id(variable), (variable, layer))
    return [found[id(v)] for v in model.weights if id(v) in found]


def names_of(model: Any, variables: list[Any]) -> dict[int, str]:
    """Variable id -> its path, without the model's own name where that leaves it unambiguous."""
    prefix = f"{model.name}/"
    short = [v.path.removeprefix(prefix) for v in variables]
    paths = short if len(set(short)) == len(short) else [v.path for v in variables]
    names: dict[int, str] = {}
    used: dict[str, int] = {}
    for variable, path in zip(variables, paths, strict=True):
        used[path] = used.get(path, 0) + 1
        names[id(variable)] = path if used[path] == 1 else f"{path}_{used[path]}"
    return names


def fan_in(variable: Any, layer: Any) -> float | None:
    """How many inputs each output element sums; None for biases, scales, embeddings."""
    shape, name = tuple(variable.shape), variable.name
    if len(shape) < 2 or name in _PLAIN:
        return None
    kinds = {cls.__name__ for cls in type(layer).__mro__}
    if "EinsumDense" in kinds:
        return _summed(layer.equation, shape)
    if "BaseConvTranspose" in kinds:
        strides = layer.strides if isinstance(layer.strides, tuple | list) else (layer.strides,)
        if len(strides) < len(shape) - 2:
            strides = tuple(strides) * (len(shape) - 2)
        return shape[-1] * math.prod(shape[:-2]) / math.prod(strides)
    if "BaseDepthwiseConv" in kinds or name == "depthwise_kernel":
        return float(math.prod(shape[:-2]))
    if "kernel" in name:
        return float(math.prod(shape[:-1]))
    return None


def _summed(equation: str, shape: tuple[int, ...]) -> float | None:
    """Product of the kernel's axes that the result no longer has."""
    read, result = equation.replace(" ", "").split("->")
    axes = read.split(",")[1]
    if len(axes) != len(shape):
        return None
    return float(math.prod(n for axis, n in zip(axes, shape, strict=True) if axis not in result))


def penalty(variables: list[Any]) -> Any:
    """A run for ``differentiate``: the sum of the regularisers' values."""

    def run(_tap: Any, weights: list[Any], _others: list[Any], _data: Any) -> tuple[Any, Any]:
        terms = [
            v.regularizer(w)
            for v, w in zip(variables, weights, strict=True)
            if v.regularizer is not None
        ]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return keras.ops.sum(total), {}

    return run
