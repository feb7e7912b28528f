"""Pooling, reductions of whole axes and dropout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from evengrad.theory import kernel as k
from evengrad.theory.field import ONES, Field, Profile, Signal, gaussian, shaped, united
from evengrad.theory.gaussian import NODES, WEIGHTS, dual, expect
from evengrad.theory.kernel import Kernel
from evengrad.theory.maps import OperationMap
from evengrad.theory.windows import Window, even
from evengrad.values.spec import Array, Dropout, Pool, Reduce, Shape

_U, _U_WEIGHTS = hermegauss(40)
_U_WEIGHTS = _U_WEIGHTS / _U_WEIGHTS.sum()
_BELOW: Array = np.cumsum(WEIGHTS) - WEIGHTS / 2  # the normal distribution function at the nodes


def _below(z: Array) -> Array:
    return np.interp(z, NODES, _BELOW, left=0.0, right=1.0)


# --- maximum: Gaussians that share a common part ---------------------------------------------------


def _common(source: Field, axes: Sequence[int]) -> Array:
    """Correlation of two places in a window, by part."""
    index: tuple[Any, ...] = tuple(1 if a in axes else 0 for a in range(len(source.shape)))
    return np.clip(source.anchor.rho[(slice(None), *index)], 0.0, 0.999)


def _given_common(values: Array, rho: float, count: int) -> tuple[Array, float]:
    """E[max of count values | the common part at each node], and E[max^2]."""
    density = np.diff(_BELOW**count, prepend=0.0)
    density /= density.sum()
    fine = NODES[::4]
    grouped = np.add.reduceat(density, np.arange(0, len(density), 4))
    z = math.sqrt(rho) * NODES[::8, None] + math.sqrt(1 - rho) * fine
    found = np.interp(z, NODES, values)
    given, squares = found @ grouped, found**2 @ grouped
    wide = np.interp(NODES, NODES[::8], squares)
    return np.interp(NODES, NODES[::8], given), float(expect(wide))


def _maximum(source: Field, axes: Sequence[int], count: int, shape: Shape, overlap: float) -> Field:
    rho = _common(source, axes)
    kernels, means = [], []
    for part in range(len(source.kernel)):
        common, square = _given_common(source.values[part], float(rho[part]), count)
        share = np.clip(source.anchor.rho[part] / max(rho[part], 1e-6), -1.0, 1.0)
        kernel = dual(common[None], share[None])[0]
        whole = (0,) * kernel.ndim
        kernel[whole] = square
        for axis in axes:
            if shape[axis] > 1:
                index = tuple(1 if a == axis else 0 for a in range(kernel.ndim))
                kernel[index] += overlap * max(square - kernel[index], 0.0)
        kernels.append(kernel)
        means.append(float(expect(common)))
    kernel = np.array(kernels)
    kernel = _ones_alike(kernel, shape)
    return gaussian(shape, kernel, np.array(means), sizes=source.sizes, axis=source.axis)


def _ones_alike(kernel: Kernel, shape: Shape) -> Kernel:
    for axis, n in enumerate(shape):
        if n == 1:
            kernel = np.repeat(np.take(kernel, [0], axis + 1), 2, axis + 1)
    return kernel


def _chosen(source: Field, axes: Sequence[int], count: int) -> Array:
    """Sqrt of (density of the argument that wins / density of any): gradients reach only winners."""
    rows = []
    for rho in _common(source, axes):
        z = math.sqrt(1 - rho) * NODES[:, None] - math.sqrt(rho) * _U
        rows.append(np.sqrt(count * (_below(z) ** (count - 1)) @ _U_WEIGHTS))
    return np.array(rows)


def _spread_pairs(
    kernel: Kernel, first: Kernel, axes: Sequence[int], old: Shape, new: Shape
) -> Kernel:
    """A gradient that each output hands whole to one input: the mean over all pairs is kept.

    first: the entries at the same place, already known.
    """
    sizes_old, sizes_new = {a: old[a] for a in axes}, {a: new[a] for a in axes}
    n_old, n_new = math.prod(sizes_old.values()), math.prod(sizes_new.values())
    whole = k.pair_mean(kernel, sizes_new) * (n_new / n_old) ** 2
    other = (whole * n_old - first) / max(n_old - 1, 1)
    return k.insert(first, other, tuple(axes), old)


def _shared(pool: Pool) -> float:
    """Of the neighbouring windows, how many choose the same element on average: with k = 3, s = 2 it is
    3 of 15 for each of four neighbours and 1 of 17 for each of four corners.
    """
    reach = [
        range(-((n - 1) // s), (n - 1) // s + 1)
        for n, s in zip(pool.kernel, pool.stride, strict=True)
    ]
    total, size = 0.0, math.prod(pool.kernel)
    for offset in np.ndindex(*(len(r) for r in reach)):
        shift = [r[i] for r, i in zip(reach, offset, strict=True)]
        if any(shift):
            both = math.prod(
                max(n - abs(d) * s, 0)
                for n, s, d in zip(pool.kernel, pool.stride, shift, strict=True)
            )
            total += both / (2 * size - both)
    return total


def _pool(op: Pool, inputs: Sequence[Field], shapes: Sequence[Shape]) -> list[Field]:
    source, shape = inputs[0], shapes[0]
    if op.reduction == "max":
        near = max((1 - s / n for n, s in zip(op.kernel, op.stride, strict=True)), default=0.0)
        return [_maximum(source, op.spatial, math.prod(op.kernel), shape, max(near, 0.0) / 2)]
    kernel, profile = source.kernel, dict(source.profile)
    for i, axis in enumerate(op.spatial):
        n, old, new = op.kernel[i], source.shape[axis], shape[axis]
        whole = k.pair_mean(kernel, {axis: old})
        first, other = np.take(kernel, 0, axis + 1), np.take(kernel, 1, axis + 1)
        first = first / n + (1 - 1 / n) * other
        other = (whole * new - first) / (new - 1) if new > 1 else first
        kernel = np.stack([first, other], axis + 1)
        profile |= _seen(op, i, source.profile, (old, new), gather=True)
    return [
        gaussian(shape, kernel, source.mean, sizes=source.sizes, axis=source.axis, profile=profile)
    ]


def _seen(op: Pool, i: int, profile: Profile, size: tuple[int, int], *, gather: bool) -> Profile:
    axis = op.spatial[i]
    window = Window(
        size, op.kernel[i], op.stride[i], op.dilation[i], op.padding[i][0], even(op.kernel[i])
    )
    if not profile.get(axis, np.zeros(0)).size and window.stride == window.kernel:
        return {}
    before = profile.get(axis, np.ones(size[0] if gather else size[1]))
    inside = np.maximum(window.gather(np.ones(size[0])), 1e-9)
    after = window.gather(before) if gather else window.scatter(before / inside**2)
    if gather and not op.count_padding:
        after = after / inside
    level = after.mean()
    return {axis: after / level} if level > 0 else {}


def _pool_back(
    op: Pool, inputs: Sequence[Field], outputs: Sequence[Field], signals: Sequence[Signal | None]
) -> list[Signal | None]:
    signal, source, out = signals[0], inputs[0], outputs[0]
    if signal is None:
        return [None]
    if op.reduction == "max":
        index: tuple[Any, ...] = tuple(1 if a in op.spatial else 0 for a in range(len(out.shape)))
        first = k.same(signal.kernel, op.spatial)
        together = (
            signal.kernel[(slice(None), *index)]
            if math.prod(out.shape[a] for a in op.spatial) > 1
            else 0
        )
        own = signal.kernel.reshape(len(signal.kernel), -1)[:, 0]
        grown = 1 + _shared(op) * np.where(own > 0, together / np.where(own > 0, own, 1), 0)
        ratio = math.prod(out.shape[a] for a in op.spatial) / math.prod(
            source.shape[a] for a in op.spatial
        )
        first = first * ratio * grown.reshape((-1,) + (1,) * (first.ndim - 1))
        kernel = _spread_pairs(signal.kernel, first, op.spatial, source.shape, out.shape)
        chosen = _chosen(source, op.spatial, math.prod(op.kernel))
        return [replace(signal, kernel=kernel, slope=chosen, profile={})]
    kernel, profile = signal.kernel, dict(signal.profile)
    for i, axis in enumerate(op.spatial):
        n, old, new = op.kernel[i], source.shape[axis], out.shape[axis]
        cover = n * new / old  # windows that an element lies in
        first, other = np.take(kernel, 0, axis + 1), np.take(kernel, 1, axis + 1)
        whole = k.pair_mean(kernel, {axis: new}) * (new / old) ** 2
        here = (cover * first + max(cover - 1, 0.0) * cover * other) / n**2
        kernel = np.stack([here, (whole * old - here) / max(old - 1, 1)], axis + 1)
        profile |= _seen(op, i, signal.profile, (old, new), gather=False)
    return [replace(signal, kernel=kernel, slope=ONES, profile=profile)]


# --- whole axes -----------------------------------------------------------------------------------


def _reduce(op: Reduce, inputs: Sequence[Field], shapes: Sequence[Shape]) -> list[Field]:
    source, shape = inputs[0], shapes[0]
    if source.axis in op.axes:
        source = united(source)
    sizes = {a: source.shape[a] for a in op.axes}
    kept = tuple(1 if a in op.axes else n for a, n in enumerate(source.shape))
    if op.reduction in ("max", "min"):
        field = _maximum(source, op.axes, math.prod(sizes.values()), kept, 0.0)
        kernel, mean = field.kernel, field.mean * (1 if op.reduction == "max" else -1)
    else:
        count = math.prod(sizes.values()) if op.reduction == "sum" else 1
        kernel = _kept(source.kernel, sizes)
        kernel, mean = kernel * count**2, source.mean * count
    if not op.keepdims:
        kernel = k.same(kernel, op.axes)
    left = [a for a in range(len(kept)) if op.keepdims or a not in op.axes]
    axis = None if source.axis is None else left.index(source.axis)
    profile = {left.index(a): p for a, p in source.profile.items() if a not in op.axes}
    found = gaussian(shape, kernel, mean, sizes=source.sizes, axis=axis, profile=profile)
    if (source.values >= 0).all() and (found.values < 0).any():
        found = shaped(found, _positive(found))
    return [found]


def _positive(found: Field) -> Array:
    """Log-normal of the same moments: a mean of squares has a root."""
    mean = np.maximum(found.mean, 1e-300)
    width = np.sqrt(np.log1p((found.anchor.sd / mean) ** 2))[:, None]
    values: Array = mean[:, None] * np.exp(width * NODES - width**2 / 2)
    return values


def _kept(kernel: Kernel, sizes: dict[int, int]) -> Kernel:
    """Mean over pairs, the axes kept with length 1."""
    kernel = k.pair_mean(kernel, sizes, keep=True)
    for axis in sizes:
        kernel = np.repeat(kernel, 2, axis + 1)
    return kernel


def _reduce_back(
    op: Reduce, inputs: Sequence[Field], outputs: Sequence[Field], signals: Sequence[Signal | None]
) -> list[Signal | None]:
    signal, source = signals[0], inputs[0]
    if signal is None:
        return [None]
    kernel, profile = signal.kernel, signal.profile
    count = math.prod(source.shape[a] for a in op.axes)
    if not op.keepdims:
        left = [a for a in range(len(source.shape)) if a not in op.axes]
        profile = {left[a]: p for a, p in profile.items()}
        kernel = k.insert(kernel, kernel, op.axes, source.shape)
    if op.reduction in ("max", "min"):
        first = k.same(kernel, op.axes) / count
        kernel = k.insert(first, first * 0, op.axes, source.shape)
        return [
            replace(signal, kernel=kernel, slope=_chosen(source, op.axes, count), profile=profile)
        ]
    if op.reduction == "mean":
        kernel = kernel / count**2
    if len(kernel) > 1 and len(source.kernel) == 1:
        kernel = kernel.mean(axis=0, keepdims=True)
    return [replace(signal, kernel=kernel, slope=ONES, profile=profile)]


# --- dropout ----------------------------------------------------------------------------------------


def _kept_alive(kernel: Kernel, op: Dropout) -> Kernel:
    kernel = kernel.copy()
    index = tuple(slice(None) if a in op.shared else 0 for a in range(kernel.ndim - 1))
    kernel[(slice(None), *index)] /= max(1 - op.rate, 1e-9)
    return kernel


def _dropout(op: Dropout, inputs: Sequence[Field], shapes: Sequence[Shape]) -> list[Field]:
    source = inputs[0]
    if op.rate == 0:
        return [source]
    kernel = _ones_alike(_kept_alive(source.kernel, op), source.shape)
    return [
        gaussian(
            source.shape,
            kernel,
            source.mean,
            sizes=source.sizes,
            axis=source.axis,
            profile=source.profile,
        )
    ]


def _dropout_back(
    op: Dropout, inputs: Sequence[Field], outputs: Sequence[Field], signals: Sequence[Signal | None]
) -> list[Signal | None]:
    signal = signals[0]
    if signal is None:
        return [None]
    kernel = _ones_alike(_kept_alive(signal.kernel, op), inputs[0].shape)
    return [replace(signal, kernel=kernel)]


MAPS = {
    Pool: OperationMap(_pool, _pool_back),
    Reduce: OperationMap(_reduce, _reduce_back),
    Dropout: OperationMap(_dropout, _dropout_back),
}
