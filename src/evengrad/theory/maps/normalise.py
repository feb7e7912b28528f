"""Batch, layer, group, instance and RMS normalisation by the batch's own statistics.

Forwards the mean over the axes leaves the kernel exactly. Backwards (Ioffe & Szegedy 2015, 1502.03167)
``dx = (d - mean(d) - x mean(d x)) / s``. The sample variance s^2 of a channel fluctuates like a chi-square
with nu degrees of freedom, 1/nu the mean squared correlation of the samples, so E[1/s^2] is larger than
1 / E[s^2] by nu / (nu - 2): (B - 2) / (B - 3) in all for a batch of B independent samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evengrad.theory import kernel as k
from evengrad.theory.field import ONES, Field, Profile, Signal, gaussian, united
from evengrad.theory.kernel import Kernel
from evengrad.theory.maps import OperationMap
from evengrad.values.spec import Array, Normalise, Shape

_FEWEST = 2.5  # degrees of freedom: with fewer the expectation does not exist


def _grouped(op: Normalise, shape: Shape) -> tuple[Normalise, Shape]:
    """Group normalisation as a plain one, the channels' axis split into (group, inside)."""
    if op.groups == 1 or op.group_axis is None:
        return op, shape
    g = op.group_axis
    inside = (*shape[:g], op.groups, shape[g] // op.groups, *shape[g + 1 :])
    axes = tuple(a if a < g else a + 1 for a in op.axes if a != g)
    return replace(op, axes=tuple(sorted({*axes, g + 1})), groups=1, group_axis=None), inside


def _forward(op: Normalise, inputs: Sequence[Field], shapes: Sequence[Shape]) -> list[Field]:
    source = _ready(op, inputs[0])
    plain, inside = _grouped(op, source.shape)
    kernel = k.reshape(source.kernel, source.shape, inside)
    centred, variance = _centred(plain, kernel, inside)
    scale = _column(1 / (variance + op.epsilon), kernel)
    found = k.reshape(centred * scale, inside, source.shape)
    mean = np.zeros(1) if op.centred else source.mean / np.sqrt(variance + op.epsilon)
    mean = np.broadcast_to(mean, source.mean.shape).copy()
    if op.scale is not None:
        found, mean = found * op.scale.rms**2, mean * op.scale.mean
    if op.shift is not None:
        found, mean = _shifted(found, op), mean + op.shift.mean
    first = kernel.reshape(len(kernel), -1)[:, 0]
    common = float((1 - variance / np.where(first > 0, first, 1.0)).mean()) if op.centred else 0.0
    profile = _profiles(plain, source, common, op.group_axis if op.groups > 1 else None)
    made = gaussian(
        source.shape, found, mean, sizes=source.sizes, axis=source.axis, profile=profile
    )
    return [replace(made, unrest=0.0) if _each_place(op) else made]


def _each_place(op: Normalise) -> bool:
    """Over the features of each place of each sample alone."""
    return 0 not in op.axes and len(op.axes) == 1 and op.groups == 1


def _shifted(kernel: Kernel, op: Normalise) -> Kernel:
    assert op.shift is not None
    kernel = kernel + op.shift.mean**2
    first: tuple[Any, ...] = (slice(None), *(0,) * (kernel.ndim - 1))
    kernel[first] += op.shift.variance
    return kernel


def _ready(op: Normalise, source: Field) -> Field:
    mixes = source.axis in op.axes or (op.groups > 1 and source.axis == op.group_axis)
    return united(source) if mixes and source.axis is not None else source


def _sizes(op: Normalise, shape: Shape) -> dict[int, int]:
    return {a: shape[a] for a in op.axes}


def _column(values: Array, kernel: Kernel) -> Array:
    return values.reshape((-1,) + (1,) * (kernel.ndim - 1))


def _centred(op: Normalise, kernel: Kernel, shape: Shape) -> tuple[Kernel, Array]:
    if op.centred:
        kernel = kernel - k.pair_mean(kernel, _sizes(op, shape), keep=True)
    return kernel, np.maximum(kernel.reshape(len(kernel), -1)[:, 0], 0.0)


def _profiles(plain: Normalise, source: Field, common: float, grouped: int | None) -> Profile:
    """Where the mean over places is taken out, what is left at the border changes; where each place is
    normalised for itself, it evens out.

    common: the mean over pairs of places of what they share, as a part of E[x^2].
    """
    found = {}
    for axis, profile in source.profile.items():
        inside = axis if grouped is None or axis < grouped else axis + 1
        if inside not in plain.axes:
            continue
        left = profile * (1 - 2 * common) + common if plain.centred else profile
        left = np.maximum(left, 0.0)
        found[axis] = left / left.mean() if left.mean() > 0 else np.ones_like(left)
    return found


def _backward(
    op: Normalise,
    inputs: Sequence[Field],
    outputs: Sequence[Field],
    signals: Sequence[Signal | None],
) -> list[Signal | None]:
    signal, source = signals[0], _ready(op, inputs[0])
    if signal is None:
        return [None]
    plain, inside = _grouped(op, source.shape)
    sizes = _sizes(plain, inside)
    centred, variance = _centred(plain, k.reshape(source.kernel, source.shape, inside), inside)
    unit = centred / _column(np.where(variance > 0, variance, 1.0), centred)
    delta = k.reshape(signal.kernel, source.shape, inside)
    along = k.pair_mean(delta * unit, sizes, keep=True)
    left = delta - unit * along
    if op.centred:
        left = left - k.pair_mean(delta, sizes, keep=True)
    freedom = 1 / np.maximum(
        k.pair_mean(unit**2, sizes).reshape(len(unit), -1)[:, 0], 1 / math.prod(sizes.values())
    )
    freedom = np.maximum(freedom, _FEWEST)
    excess = 2 / (freedom - 2) * (source.unrest if _each_place(op) else 1.0)
    factor = (1 + excess) / (variance + op.epsilon)
    if op.scale is not None:
        factor = factor * op.scale.rms**2
    kernel = k.reshape(left * _column(factor, left), inside, source.shape)
    kernel, profile = _by_place(
        plain, source, kernel, signal, op.group_axis if op.groups > 1 else None
    )
    signal = replace(signal, profile=profile)
    if len(source.kernel) > 1 or len(inputs[0].kernel) == 1:
        return [replace(signal, kernel=kernel, slope=ONES)]
    return [replace(signal, kernel=kernel.mean(axis=0, keepdims=True), slope=ONES)]


def _by_place(
    plain: Normalise, source: Field, kernel: Kernel, signal: Signal, grouped: int | None
) -> tuple[Kernel, Profile]:
    """Places that are normalised for themselves divide by what they have: small ones send back more."""
    profile = dict(signal.profile)
    for axis, line in source.profile.items():
        inside = axis if grouped is None or axis < grouped else axis + 1
        if inside in plain.axes:
            continue
        sent = profile.get(axis, np.ones(len(line))) / np.maximum(line, 1e-3)
        kernel = kernel * sent.mean()
        profile[axis] = sent / sent.mean()
    return kernel, profile


MAPS = {Normalise: OperationMap(_forward, _backward)}
