"""Other initial weights in a live model."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.state import untouched
from evengrad.adapters.keras.change.model import LiveModel
from evengrad.adapters.keras.trace.weights import fan_in
from evengrad.errors import CannotChangeError

_TOLERANCE, _PASSES = 0.01, 10  # |std - 1|, and tries a layer
_TRUNCATED = 0.87962566103423978  # sd of a standard normal cut off at two


def initialise(
    live: LiveModel, layers: Sequence[str], gain: float, scheme: str, bias: float = 0.0
) -> None:
    """Seeded from the state of Python's generator, as Keras' own initialisers are; that state stays what it
    is, so that the script draws the same afterwards.
    """
    seeds = random.Random(repr(random.getstate()))
    for name in layers:
        layer = live.call(name).operation
        kernels = [v for v in compat.own_weights(layer) if "kernel" in v.name and fan_in(v, layer)]
        if not kernels:
            raise CannotChangeError(f"{name!r} has no weight matrix to draw anew.")
        for variable in kernels:
            seed = seeds.randint(1, 10**9)
            variable.assign(_SCHEMES[scheme](variable, layer, gain, seed))
        for variable in compat.own_weights(layer):
            if variable.name == "bias":
                draw = keras.initializers.RandomNormal(0.0, bias, seeds.randint(1, 10**9))
                variable.assign(draw(tuple(variable.shape), dtype=variable.dtype))


def _normal(variable: Any, layer: Any, gain: float, seed: int) -> Any:
    """As ``VarianceScaling(gain**2, "fan_in", "truncated_normal")``, fan-in being what the layer sums over."""
    deviation = gain / math.sqrt(fan_in(variable, layer) or 1.0) / _TRUNCATED
    draw = keras.initializers.TruncatedNormal(stddev=deviation, seed=seed)
    return draw(tuple(variable.shape), dtype=variable.dtype)


def _zeros(variable: Any, _layer: Any, _gain: float, _seed: int) -> Any:
    return keras.ops.zeros(variable.shape, variable.dtype)


def _orthogonal(variable: Any, layer: Any, gain: float, seed: int) -> Any:
    """For convolutions in the middle of the kernel only (delta-orthogonal, 1806.05393)."""
    shape = tuple(int(n) for n in variable.shape)
    taps = math.prod(shape[:-2])
    if fan_in(variable, layer) != taps * shape[-2] or "Transpose" in type(layer).__name__:
        raise CannotChangeError(
            f"{layer.name!r} ({type(layer).__name__}) has no orthogonal weights: expected a Dense or a "
            "convolution."
        )
    rows, columns = shape[-2:]
    # So that Var W = gain^2 / fan_in also where there are more columns, and the rows are orthonormal.
    scale = gain * math.sqrt(max(1.0, columns / rows))
    draw = keras.initializers.Orthogonal(gain=scale, seed=seed)
    matrix = keras.ops.convert_to_numpy(draw((rows, columns), dtype="float32"))
    kernel = np.zeros(shape, "float32")
    kernel[tuple(n // 2 for n in shape[:-2])] = matrix
    return keras.ops.convert_to_tensor(kernel, variable.dtype)


def unit_variance(live: LiveModel, names: Sequence[str]) -> None:
    """Orthogonal, then divided by what one forward pass of the first batch measures before the activation."""
    x = live.batch()
    layers = [(name, live.call(name).operation) for name in names]
    initialise(live, names, 1.0, "orthogonal")
    measured: dict[str, Any] = {}
    with untouched(live.model), _kept(live.model), ExitStack() as stack:
        for name, layer in layers:
            stack.enter_context(_scaling(name, layer, measured))
        live.model(x, training=True)
    for name, layer in layers:
        if name not in measured:
            raise CannotChangeError(f"{name!r} is not used in the forward pass of the first batch.")
        _kernel(layer).assign(measured[name])


def _kernel(layer: Any) -> Any:
    return next(v for v in compat.own_weights(layer) if "kernel" in v.name)


@contextmanager
def _scaling(name: str, layer: Any, measured: dict[str, Any]) -> Iterator[None]:
    """While it lasts, the layer's first call scales its weights."""
    call, had = layer.call, "call" in layer.__dict__

    def scaled(x: Any, *args: Any, **kwargs: Any) -> Any:
        if name not in measured:
            kernel, plain = (
                _kernel(layer),
                type(layer).call,
            )  # without a residual connection of ours
            with _linear(layer):
                for _ in range(_PASSES):
                    std = _std(plain(layer, x), name)
                    if abs(std - 1) <= _TOLERANCE:
                        break
                    kernel.assign(kernel / std)
            measured[name] = keras.ops.convert_to_numpy(kernel)
        return call(x, *args, **kwargs)

    layer.__dict__["call"] = scaled
    try:
        yield
    finally:
        layer.__dict__.pop("call")
        if had:
            layer.__dict__["call"] = call


@contextmanager
def _linear(layer: Any) -> Iterator[None]:
    """While it lasts, the layer has no activation."""
    has = "activation" in layer.__dict__
    function = layer.__dict__.pop("activation", None)
    if has:
        layer.__dict__["activation"] = keras.activations.linear
    try:
        yield
    finally:
        if has:
            layer.__dict__["activation"] = function


@contextmanager
def _kept(model: Any) -> Iterator[None]:
    """All variables are afterwards what they were."""
    values = [(v, keras.ops.convert_to_numpy(v).copy()) for v in model.variables]
    try:
        yield
    finally:
        for variable, value in values:
            variable.assign(value)


def _std(output: Any, name: str) -> float:
    found = float(np.std(keras.ops.convert_to_numpy(output).astype("float64")))
    if not math.isfinite(found) or found == 0:
        raise CannotChangeError(f"The output of {name!r} has no variance to scale by ({found:g}).")
    return found


_SCHEMES = {"normal": _normal, "orthogonal": _orthogonal, "zeros": _zeros}
