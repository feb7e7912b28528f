"""A clip so tight that the steps it leaves move nothing, or less than an optimizer's epsilon: the
optimizer's own, or one of the script's loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.theory.stalled import stalled
from evengrad.values.fact import Fact, Where
from evengrad.values.probe import Weight
from evengrad.values.run import Floats

KIND = "clipped_away"
_STILL = 1e-5  # of the weights, in a step
_LITTLE = 0.1  # of the gradient's norm


def smothered(
    optimizer: Any,
    gradients: Sequence[float],
    weights: Sequence[float],
    sizes: Sequence[int],
    names: Sequence[str],
    place: Where | None,
) -> Fact | None:
    """Of an optimizer with a clip of its own; None where it has none, or one that leaves enough.

    Args:
        optimizer: it, in whatever it is wrapped.
        gradients: norms of each tensor's, before the clip.
        weights: norms of the same tensors.
        sizes: their numbers of elements.
        names: theirs.
        place: the user's line.
    """
    inner = unscaled(optimizer)
    bounds = {
        name: float(bound)
        for name in ("clipnorm", "clipvalue", "global_clipnorm")
        if (bound := getattr(inner, name, None)) is not None
    }
    if not bounds:
        return None
    name, bound = next(iter(bounds.items()))
    norms = np.asarray(gradients, dtype=np.float64)
    norm = float(np.sqrt(np.sum(np.square(norms))))
    if name == "clipnorm":
        each = np.minimum(norms, bound)
    elif name == "clipvalue":
        each = np.minimum(norms, bound * np.sqrt(sizes))
    else:
        each = norms * min(1.0, bound / norm if norm else 1.0)
    if _epsilon(inner) is not None:
        return swallowed(inner, name, bound, norms, each, sizes, names, place)
    left, whole = float(np.sqrt(np.sum(np.square(each)))), math.hypot(*weights)
    return _judged(inner, name, bound, norm, left, whole, place)


def swallowed(
    optimizer: Any,
    name: str,
    bound: float,
    before: Sequence[float] | Floats,
    behind: Sequence[float] | Floats,
    sizes: Sequence[int],
    names: Sequence[str],
    place: Where | None,
) -> Fact | None:
    """By the epsilon of an optimizer that has one. before, behind: norms around the clip."""
    inner = unscaled(optimizer)
    epsilon, root = _epsilon(inner), np.sqrt(np.maximum(sizes, 1))
    if epsilon is None:
        return None
    found = stalled(np.asarray(before) / root, np.asarray(behind) / root, sizes, names, epsilon)
    if found is None:
        return None
    kept = {"optimizer": type(inner).__name__, "argument": name, "bound": bound}
    return Fact(KIND, place, 0, kept | found)


def _epsilon(inner: Any) -> float | None:
    """What is added to the root of squares; None of an optimizer that divides by none."""
    known = keras.optimizers
    divides = isinstance(inner, known.Adam | known.Nadam | known.RMSprop | known.Adagrad)
    return float(inner.epsilon) if divides else None


def of_probe(optimizer: Any, weights: Sequence[Weight], place: Where | None) -> tuple[Fact, ...]:
    """The same of the weights of a probe: one, or none."""
    known = [(w.gradient, w.value, w.name) for w in weights if w.gradient is not None]
    gradients, values = [g.norm for g, _, _ in known], [v.norm for _, v, _ in known]
    sizes, names = [v.size for _, v, _ in known], [name for _, _, name in known]
    found = smothered(optimizer, gradients, values, sizes, names, place)
    return () if found is None else (found,)


def clipped(
    optimizer: Any, bound: float, norm: float, left: float, weights: float, place: Where | None
) -> Fact | None:
    """Of a clip of the script's own, from the norms before and behind it."""
    return _judged(unscaled(optimizer), "clip_norm", bound, norm, left, weights, place)


def _judged(
    inner: Any,
    name: str,
    bound: float,
    norm: float,
    left: float,
    weights: float,
    place: Where | None,
) -> Fact | None:
    if not isinstance(inner, keras.optimizers.SGD):
        return None  # the others may divide by the gradient's size
    rate = _highest(inner)
    moves = rate * left / (1 - min(float(inner.momentum), 0.999))
    if not left < _LITTLE * norm < math.inf or not moves < _STILL * weights:
        return None
    values = {
        "optimizer": type(inner).__name__,
        "argument": name,
        "bound": bound,
        "norm": norm,
        "left": left,
        "moves": moves / weights,
        "rate": rate,
    }
    return Fact(KIND, place, 0, values)


def _highest(optimizer: Any) -> float:
    """The rate of now, or that which its schedule begins or ends its warm-up with."""
    now = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    schedule = compat.given_rate(optimizer)
    told = [getattr(schedule, name, None) for name in ("initial_learning_rate", "warmup_target")]
    return max([now, *(float(rate) for rate in told if isinstance(rate, int | float))])
