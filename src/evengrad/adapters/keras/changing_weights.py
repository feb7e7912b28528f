"""Other initial weights in a live model."""

from __future__ import annotations

import math
import random
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.changing_network import Network
from evengrad.adapters.keras.weights import fan_in
from evengrad.change import Initialise
from evengrad.errors import CannotChangeError

_TRUNCATED = 0.87962566103423978  # sd of a standard normal cut off at two


def initialise(network: Network, change: Initialise) -> None:
    """Seeded from the state of Python's generator, as Keras' own initialisers are; that state stays what it
    is, so that the script draws the same afterwards.
    """
    seeds = random.Random(repr(random.getstate()))
    for name in change.layers:
        layer = network.call(name).operation
        kernels = [v for v in layer._trainable_variables if "kernel" in v.name and fan_in(v, layer)]
        if not kernels:
            raise CannotChangeError(f"{name!r} has no weight matrix to draw anew.")
        for variable in kernels:
            seed = seeds.randint(1, 10**9)
            variable.assign(_SCHEMES[change.scheme](variable, layer, change.gain, seed))
        for variable in layer._trainable_variables:
            if variable.name == "bias":
                variable.assign(keras.ops.zeros(variable.shape, variable.dtype))


def _normal(variable: Any, layer: Any, gain: float, seed: int) -> Any:
    """As ``VarianceScaling(gain**2, "fan_in", "truncated_normal")``, fan-in being what the layer sums over."""
    deviation = gain / math.sqrt(fan_in(variable, layer) or 1.0) / _TRUNCATED
    draw = keras.initializers.TruncatedNormal(stddev=deviation, seed=seed)
    return draw(tuple(variable.shape), dtype=variable.dtype)


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


_SCHEMES = {"normal": _normal, "orthogonal": _orthogonal}
