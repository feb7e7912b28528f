"""The law of a weight's elements: measured where it has values, else its initialiser's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import array
from evengrad.adapters.keras.spec.placeholders import initialiser_of
from evengrad.values.spec import Law, Shape
from evengrad.values.summary import Summary

_TRUNCATED = 0.87962566103423978  # sd of a standard normal cut off at two
_CLEARLY = 6.0  # standard errors by which a tap must stand out
_SAMPLED = 1 << 20  # elements


def law_of(variable: Any, layer: Any = None, taps: int = 0, known: Summary | None = None) -> Law:
    """Of a Keras variable.

    Args:
        variable: with values or without.
        layer: its owner, asked for the initialiser where the variable has no values.
        taps: how many of its leading axes are positions of a convolution kernel.
        known: its figures.

    Returns:
        The law of its elements.
    """
    initialiser = initialiser_of(variable, layer)
    if initialiser is not None:
        return initial_law(initialiser, tuple(int(n) for n in variable.shape))
    if known is None:
        return measured(array(variable.value), taps)
    shares = _shares(array(variable.value), taps) if taps and known.rms > 0 else None
    return Law(known.mean, known.rms, "measured", shares)


def measured(values: npt.NDArray[Any], taps: int = 0) -> Law:
    """Mean and root mean square, and the energy of each tap where they clearly differ."""
    if values.size == 0:
        return Law(0.0, 0.0)
    square, mean = _moments(values)
    shares = _shares(values, taps) if taps and square > 0 else None
    return Law(mean, math.sqrt(square), "measured", shares, bool(taps) and _centred(values))


_NOTHING = 1e-3  # a sum so small against its norm is zero by construction


def _centred(kernel: npt.NDArray[Any]) -> bool:
    """Whether the weights of each unit (the last axis) sum to zero."""
    rows = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    sums, norms = np.abs(rows.sum(axis=0)), np.sqrt((rows**2).sum(axis=0))
    return len(rows) > 1 and bool(sums.max() < _NOTHING * norms.min())


_CHUNK = 1 << 20


def _moments(values: npt.NDArray[Any]) -> tuple[float, float]:
    """E[w^2], E[w], in float64 without a copy of the whole."""
    flat = values.reshape(-1)
    square = total = 0.0
    for start in range(0, flat.size, _CHUNK):
        part = flat[start : start + _CHUNK].astype(np.float64)
        square += float(part @ part)
        total += float(part.sum())
    return square / flat.size, total / flat.size


def _shares(kernel: npt.NDArray[Any], taps: int) -> tuple[float, ...] | None:
    """Share of the energy at each position; None where chance explains the differences."""
    rows = kernel.reshape(math.prod(kernel.shape[:taps]), -1)
    if len(rows) == 1:
        return None
    energy = np.einsum("tn,tn->t", rows, rows, dtype=np.float64)
    fourth = np.einsum("tn,tn,tn,tn->t", rows, rows, rows, rows, dtype=np.float64)
    count = rows.shape[1]
    whole, spread = float(energy.mean()), float(np.sqrt(fourth.mean()))
    if whole <= 0 or np.all(np.abs(energy - whole) <= _CLEARLY * spread) or count == 0:
        return None
    return tuple(float(e) for e in energy / energy.sum())


def initial_law(initialiser: Any, shape: Shape) -> Law:
    """Of what a Keras initialiser draws for a tensor of that shape."""
    origin = _origin(initialiser)
    for cls in type(initialiser).__mro__:
        if cls.__name__ in _MOMENTS:
            found = _MOMENTS[cls.__name__](initialiser, shape)
            if found is not None:
                return Law(float(found[0]), float(found[1]), origin)
    return _sampled(initialiser, shape, origin)


def _truncated(initialiser: Any, _: Shape) -> tuple[float, float]:
    return initialiser.mean, math.hypot(initialiser.mean, initialiser.stddev * _TRUNCATED)


def _normal(initialiser: Any, _: Shape) -> tuple[float, float]:
    return initialiser.mean, math.hypot(initialiser.mean, initialiser.stddev)


def _uniform(initialiser: Any, _: Shape) -> tuple[float, float]:
    low, high = float(initialiser.minval), float(initialiser.maxval)
    return (low + high) / 2, math.sqrt((low * low + low * high + high * high) / 3)


def _orthogonal(initialiser: Any, shape: Shape) -> tuple[float, float]:
    return 0.0, initialiser.gain / math.sqrt(max(math.prod(shape[:-1]), shape[-1]))


def _identity(initialiser: Any, shape: Shape) -> tuple[float, float]:
    share = min(shape) / math.prod(shape)
    return initialiser.gain * share, initialiser.gain * math.sqrt(share)


def _constant(initialiser: Any, _: Shape) -> tuple[float, float] | None:
    level = initialiser.value
    return None if np.ndim(level) else (level, abs(level))


def _scaled(initialiser: Any, shape: Shape) -> float:
    """Var w of the VarianceScaling family; Keras widens the truncated normal to make up for the cut."""
    axes = [getattr(initialiser, name, None) for name in ("input_axes", "output_axes")]
    fan_in, fan_out = compat.fans(shape, *(axes if any(axes) else ()))
    fan = {"fan_in": fan_in, "fan_out": fan_out}.get(initialiser.mode, (fan_in + fan_out) / 2)
    return float(initialiser.scale / max(1.0, fan))


_MOMENTS: dict[str, Callable[[Any, Shape], tuple[float, float] | None]] = {
    "VarianceScaling": lambda initialiser, shape: (0.0, math.sqrt(_scaled(initialiser, shape))),
    "TruncatedNormal": _truncated,
    "RandomNormal": _normal,
    "RandomUniform": _uniform,
    "Orthogonal": _orthogonal,
    "Identity": _identity,
    "Zeros": lambda *_: (0.0, 0.0),
    "Ones": lambda *_: (1.0, 1.0),
    "Constant": _constant,
}


def _origin(initialiser: Any) -> str:
    """he_normal, random_uniform(-0.1, 0.1)."""
    name = keras.utils.get_registered_name(type(initialiser))
    word = compat.snake_case(name.rsplit(">", 1)[-1])
    told = {"stddev", "minval", "maxval", "value", "gain"}
    figures = [
        f"{float(v):g}"
        for k, v in sorted(vars(initialiser).items(), reverse=True)
        if k in told and isinstance(v, int | float)
    ]
    return f"{word}({', '.join(figures)})" if figures else str(word)


def _sampled(initialiser: Any, shape: Shape, origin: str) -> Law:
    """Of one draw; a tensor too large for that is drawn with its largest axes cut."""
    small = list(shape)
    while math.prod(small) > _SAMPLED:
        widest = int(np.argmax(small))
        small[widest] = max(small[widest] // 2, 1)
    values = array(keras.ops.convert_to_tensor(initialiser(tuple(small), dtype="float32")))
    law = measured(values)
    return Law(law.mean, law.rms, f"{origin}, sampled")
