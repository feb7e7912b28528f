"""Normalisation and noise layers."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.backend.differentiate import array
from evengrad.adapters.keras.spec.draft import LayerDraft, RuleResult, axes_of, axis_of
from evengrad.adapters.keras.spec.laws import measured
from evengrad.adapters.keras.spec.placeholders import initialiser_of
from evengrad.values.spec import Array, Combine, Dropout, Law, Normalise, Pointwise, Reshape, Shape


def batch_normalisation(draft: LayerDraft) -> RuleResult:
    """With the batch's statistics; a frozen one with those it has."""
    layer, x = draft.owner, draft.inputs[0]
    axis = axis_of(layer.axis, draft.rank(x))
    gamma, beta = draft.law(layer.gamma), draft.law(layer.beta)
    if draft.option("training") is False or not layer.trainable:
        return _frozen(draft, x, axis, gamma, beta)
    axes = tuple(a for a in range(draft.rank(x)) if a != axis)
    op = Normalise(axes, True, layer.epsilon, gamma, beta)
    return draft.emit(op, x, shape=draft.out)


def _frozen(draft: LayerDraft, x: int, axis: int, gamma: Law | None, beta: Law | None) -> int:
    """(x - mean) / sd * gamma + beta with constants."""
    layer = draft.owner
    line: Shape = tuple(n if a == axis else 1 for a, n in enumerate(draft.shape(x)))
    variance, mean = _values(layer.moving_variance), _values(layer.moving_mean)
    inverse = 1 / np.sqrt(variance + layer.epsilon)
    z = x
    for name, law in (
        ("subtract", measured(mean)),
        ("multiply", measured(inverse)),
        ("multiply", gamma),
        ("add", beta),
    ):
        z = affine(draft, z, name, law, line)
    return z


def _values(variable: Any) -> Array:
    """Of a variable; of one without values, those that it begins with."""
    initialiser = initialiser_of(variable)
    if initialiser is None:
        return np.asarray(array(variable.value), np.float64)
    level = 1.0 if type(initialiser).__name__ == "Ones" else 0.0
    return np.full(tuple(variable.shape), level)


_EVEN = 1e-12  # relative variance of what is one number


def affine(draft: LayerDraft, x: int, name: str, law: Law | None, line: Shape) -> int:
    """One arithmetic operation with a constant line; none where it changes nothing."""
    even = law is not None and law.variance <= _EVEN * law.rms**2
    if law is None or (even and law.mean == (1.0 if name == "multiply" else 0.0)):
        return x
    function: Any = getattr(np, name)
    if even:
        level = law.mean
        return draft.emit(Pointwise(name, lambda z: function(z, level)), x, shape=draft.shape(x))
    constant = draft.table.constant(law, line)
    return draft.emit(Combine(name, function), x, constant, shape=draft.shape(x))


def layer_normalisation(draft: LayerDraft) -> RuleResult:
    """LayerNormalization; with rms_scaling the mean stays."""
    layer, x = draft.owner, draft.inputs[0]
    centred = not getattr(layer, "rms_scaling", False)
    op = Normalise(
        axes_of(layer.axis, draft.rank(x)),
        centred,
        layer.epsilon,
        draft.law(getattr(layer, "gamma", None)),
        draft.law(getattr(layer, "beta", None)),
    )
    return draft.emit(op, x, shape=draft.out)


def rms_normalisation(draft: LayerDraft) -> RuleResult:
    """RMSNormalization."""
    layer, x = draft.owner, draft.inputs[0]
    axes = axes_of(layer.axis, draft.rank(x))
    op = Normalise(axes, False, layer.epsilon, draft.law(layer.scale), None)
    return draft.emit(op, x, shape=draft.out)


def group_normalisation(draft: LayerDraft) -> RuleResult:
    """GroupNormalization; as many groups as channels: over the other axes alone."""
    layer, x = draft.owner, draft.inputs[0]
    rank = draft.rank(x)
    axis = axis_of(layer.axis, rank)
    channels = draft.shape(x)[axis]
    groups = channels if layer.groups == -1 else int(layer.groups)
    others = tuple(a for a in range(1, rank) if a != axis)
    axes, split = others, 1 < groups < channels
    if groups == 1:
        axes = tuple(range(1, rank))
    op = Normalise(
        axes,
        True,
        layer.epsilon,
        draft.law(layer.gamma),
        draft.law(layer.beta),
        groups if split else 1,
        axis if split else None,
    )
    return draft.emit(op, x, shape=draft.out)


def unit(draft: LayerDraft, x: int, axes: tuple[int, ...], epsilon: float) -> int:
    """X / ||x||: by its rms, then by the root of how many."""
    count = math.prod(draft.shape(x)[a] for a in axes)
    scale = 1 / math.sqrt(count)
    z = draft.emit(Normalise(axes, False, epsilon / count), x, shape=draft.shape(x))
    return draft.emit(Pointwise("multiply", lambda v: v * scale), z, shape=draft.shape(x))


def dropout(draft: LayerDraft) -> RuleResult:
    """Dropout, SpatialDropout, GaussianDropout (noise of the same second moment)."""
    x, layer = draft.inputs[0], draft.owner
    if _off(draft):
        return draft.emit(Reshape(), x, shape=draft.out)
    shared: tuple[int, ...] = ()
    noise = getattr(layer, "noise_shape", None)
    if noise is not None:
        shared = tuple(a for a, n in enumerate(noise) if n == 1)
    if type(layer).__name__.startswith("SpatialDropout"):
        first = 2 if getattr(layer, "data_format", "") == "channels_first" else 1
        shared = tuple(range(first, draft.rank(x) - (first == 1)))
    return draft.emit(Dropout(float(layer.rate), shared), x, shape=draft.out)


def _off(draft: LayerDraft) -> bool:
    return draft.call.kwargs.get("training") is False


def stochastic_depth(draft: LayerDraft) -> RuleResult:
    """A whole branch dropped for a sample (keras.applications, user-written DropPath)."""
    x, layer = draft.inputs[0], draft.owner
    names = ("drop_path_rate", "rate", "drop_rate", "drop_prob")
    rate = next((float(getattr(layer, n)) for n in names if hasattr(layer, n)), None)
    if rate is None:
        return draft.opaque("its rate is unknown")
    if _off(draft):
        return draft.emit(Reshape(), x, shape=draft.out)
    return draft.emit(Dropout(rate, tuple(range(1, draft.rank(x)))), x, shape=draft.out)


def alpha_dropout(draft: LayerDraft) -> RuleResult:
    """Klambauer 2017: dropped elements are set to alpha', the result is scaled back to its variance."""
    x, rate, low = draft.inputs[0], float(draft.owner.rate), -1.7580993408473766
    if _off(draft) or rate == 0:
        return draft.emit(Reshape(), x, shape=draft.out)
    a = 1 / math.sqrt((1 - rate) * (1 + rate * low**2))
    kept, filled = a * (1 - rate), a * abs(low) * math.sqrt(rate * (1 - rate))
    z = draft.emit(Dropout(rate), x, shape=draft.out)
    z = draft.emit(Pointwise("multiply", lambda v: v * kept), z, shape=draft.out)
    noise = draft.table.constant(Law(0.0, filled, "alpha dropout"), draft.out)
    return draft.emit(Combine("add", np.add), z, noise, shape=draft.out)


def gaussian_noise(draft: LayerDraft) -> RuleResult:
    """GaussianNoise."""
    x = draft.inputs[0]
    if _off(draft):
        return draft.emit(Reshape(), x, shape=draft.out)
    law = Law(0.0, float(draft.owner.stddev), "gaussian noise")
    constant = draft.table.constant(law, draft.out)
    return draft.emit(Combine("add", np.add), x, constant, shape=draft.out)


def standardised(draft: LayerDraft) -> RuleResult:
    """Normalization by figures that were set or adapted."""
    layer, x = draft.owner, draft.inputs[0]
    mean, variance = (_line(v) for v in (layer.mean, layer.variance))
    if layer.mean is None or mean is None or variance is None:
        mean, variance = np.zeros(1), np.ones(1)
    root = np.maximum(np.sqrt(variance), keras.config.epsilon())
    if layer.invert:
        steps = [("multiply", root), ("add", mean)]
    else:
        steps = [("subtract", mean), ("multiply", 1 / root)]
    z = x
    for name, values in steps:
        shape = values.shape if values.ndim == draft.rank(x) else (1,)
        z = affine(draft, z, name, measured(values), shape)
    return z if z != x else draft.emit(Reshape(), x, shape=draft.out)


def _line(value: Any) -> Array | None:
    try:
        return np.asarray(array(value), np.float64)
    except Exception:  # made while tracing, or without values
        return None


def rescaling(draft: LayerDraft) -> RuleResult:
    """X * scale + offset."""
    layer, z = draft.owner, draft.inputs[0]
    for name, value in (("multiply", layer.scale), ("add", layer.offset)):
        values = np.asarray(value, np.float64)
        z = affine(draft, z, name, measured(values), values.shape or (1,))
    return z if z != draft.inputs[0] else draft.emit(Reshape(), z, shape=draft.out)
