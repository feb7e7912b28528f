"""Pooling, merging and reshaping layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evengrad.adapters.keras.spec.draft import Draft, Result, Tensor, axes_of, axis_of
from evengrad.adapters.keras.spec.linear import padded, spatial_axes
from evengrad.adapters.keras.spec.normalise import unit
from evengrad.adapters.keras.spec.pointwise import combined
from evengrad.values.spec import (
    Concatenate,
    Einsum,
    Expand,
    Pad,
    Pointwise,
    Pool,
    Reduce,
    Reshape,
    Shape,
    Slice,
    Transpose,
    Upsample,
)

# --- pooling --------------------------------------------------------------------------------------


def pooling(draft: Draft) -> Result:
    """MaxPooling, AveragePooling."""
    layer, x = draft.owner, draft.inputs[0]
    word = "max" if "Max" in _class(layer) else "average"
    return pooled(draft, x, word, layer.pool_size, layer.strides, layer.padding, layer.data_format)


def pooled(
    draft: Draft, x: int, word: Any, kernel: Any, stride: Any, padding: str, data_format: str
) -> int:
    """Windows over the spatial axes; padding is never counted."""
    _, spatial = spatial_axes(draft.rank(x), data_format)
    kernel = _each(kernel, len(spatial))
    stride = _each(kernel if stride is None else stride, len(spatial))
    ones = (1,) * len(spatial)
    pads = padded(padding, [draft.shape(x)[a] for a in spatial], kernel, stride, ones)
    return draft.emit(Pool(word, spatial, kernel, stride, pads, ones), x, shape=draft.out)


def _each(value: Any, count: int) -> tuple[int, ...]:
    return (int(value),) * count if isinstance(value, int) else tuple(int(v) for v in value)


def _class(layer: Any) -> str:
    """The name of its Keras class, also where a user has derived from it."""
    return " ".join(cls.__name__ for cls in type(layer).__mro__)


def adaptive_pooling(draft: Draft) -> Result:
    """Windows as even as can be; where they do not fit they overlap a little more than Keras' do."""
    layer, x = draft.owner, draft.inputs[0]
    word: Any = "max" if "Max" in _class(layer) else "average"
    _, spatial = spatial_axes(draft.rank(x), layer.data_format)
    sizes, wanted = [[shape[a] for a in spatial] for shape in (draft.shape(x), draft.out)]
    stride = tuple(max(n // m, 1) for n, m in zip(sizes, wanted, strict=True))
    kernel = tuple(max(n - (m - 1) * s, 1) for n, m, s in zip(sizes, wanted, stride, strict=True))
    ones, none = (1,) * len(spatial), ((0, 0),) * len(spatial)
    return draft.emit(Pool(word, spatial, kernel, stride, none, ones), x, shape=draft.out)


def global_pooling(draft: Draft) -> Result:
    """Over all positions."""
    layer, x = draft.owner, draft.inputs[0]
    _, spatial = spatial_axes(draft.rank(x), layer.data_format)
    word: Any = "max" if "Max" in _class(layer) else "mean"
    op = Reduce(word, spatial, bool(layer.keepdims))
    return draft.emit(op, x, shape=draft.out)


# --- merging --------------------------------------------------------------------------------------


_WORDS = {
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "Average": "add",
    "Maximum": "maximum",
    "Minimum": "minimum",
}


def merging(draft: Draft) -> Result:
    """Add, Subtract, Multiply, Average, Maximum, Minimum of any number of inputs, pair by pair."""
    kind = next(name for name in _WORDS if name in _class(draft.owner).split())
    z = draft.inputs[0]
    for other in draft.inputs[1:]:
        shape = np.broadcast_shapes(draft.shape(z), draft.shape(other))
        z = combined(draft, _WORDS[kind], Tensor(z), Tensor(other), shape)
    if kind == "Average":
        share = 1 / len(draft.inputs)
        z = draft.emit(Pointwise("multiply", lambda v: v * share), z, shape=draft.out)
    return z


def concatenation(draft: Draft) -> Result:
    """Concatenate."""
    axis = axis_of(draft.owner.axis, len(draft.out))
    return draft.emit(Concatenate(axis), *draft.inputs, shape=draft.out)


def dot(draft: Draft) -> Result:
    """Dot: along one axis of each, cosines with normalize=True."""
    layer, tensors = draft.owner, draft.inputs
    given = layer.axes if isinstance(layer.axes, list | tuple) else (layer.axes,) * 2
    axes = [axis_of(a, draft.rank(t)) for a, t in zip(given, tensors, strict=True)]
    if layer.normalize:
        tensors = [unit(draft, t, (a,), 1e-12) for t, a in zip(tensors, axes, strict=True)]
    left = "bcdefg"[: draft.rank(tensors[0])]
    right = list("bhijkl"[: draft.rank(tensors[1])])
    right[axes[1]] = summed = left[axes[0]]
    sizes = dict(zip(right, draft.shape(tensors[1]), strict=True))
    sizes.update(zip(left, draft.shape(tensors[0]), strict=True))
    result = [c for c in [*left, *right[1:]] if c != summed]
    op = Einsum(f"{left},{''.join(right)}->{''.join(result)}")
    return draft.reshaped(draft.emit(op, *tensors, shape=[sizes[c] for c in result]), draft.out)


# --- moving ---------------------------------------------------------------------------------------


def reshape(draft: Draft) -> Result:
    """Any layer that keeps the elements and their order."""
    return draft.emit(Reshape(), draft.inputs[0], shape=draft.out)


def flatten(draft: Draft) -> Result:
    """Flatten: channels last in either layout."""
    x, rank = draft.inputs[0], draft.rank(draft.inputs[0])
    if draft.owner.data_format == "channels_first" and rank > 2:
        order = (0, *range(2, rank), 1)
        x = transposed(draft, x, order)
    return draft.emit(Reshape(), x, shape=draft.out)


def transposed(draft: Draft, x: int, order: Sequence[int]) -> int:
    """Axes in another order."""
    shape = draft.shape(x)
    return draft.emit(Transpose(tuple(order)), x, shape=[shape[a] for a in order])


def permute(draft: Draft) -> Result:
    """Permute: its axes count from 1, without the batch."""
    return transposed(draft, draft.inputs[0], (0, *draft.owner.dims))


def repeat_vector(draft: Draft) -> Result:
    """RepeatVector."""
    x = draft.inputs[0]
    batch, features = draft.shape(x)
    x = draft.reshaped(x, (batch, 1, features))
    return draft.emit(Expand(), x, shape=draft.out)


def _pairs(value: Any, count: int) -> list[tuple[int, int]]:
    if isinstance(value, int):
        return [(value, value)] * count
    if count == 1 and len(value) == 2 and isinstance(value[0], int):
        return [(value[0], value[1])]
    return [(v, v) if isinstance(v, int) else (int(v[0]), int(v[1])) for v in value]


def zero_padding(draft: Draft) -> Result:
    """ZeroPadding1D to ZeroPadding3D."""
    layer, x = draft.owner, draft.inputs[0]
    _, spatial = spatial_axes(draft.rank(x), getattr(layer, "data_format", "channels_last"))
    op = Pad(spatial, tuple(_pairs(layer.padding, len(spatial))))
    return draft.emit(op, x, shape=draft.out)


def cropping(draft: Draft) -> Result:
    """Cropping1D to Cropping3D."""
    layer, z = draft.owner, draft.inputs[0]
    _, spatial = spatial_axes(draft.rank(z), getattr(layer, "data_format", "channels_last"))
    for axis, (before, after) in zip(spatial, _pairs(layer.cropping, len(spatial)), strict=True):
        if before or after:
            z = sliced(draft, z, axis, before, draft.shape(z)[axis] - before - after)
    return z


def sliced(draft: Draft, x: int, axis: int, start: int, length: int, step: int = 1) -> int:
    """A part of one axis."""
    shape = list(draft.shape(x))
    shape[axis] = length
    return draft.emit(Slice(axis, ((start, length),), step), x, shape=shape)


def upsampling(draft: Draft) -> Result:
    """UpSampling1D to UpSampling3D."""
    layer, x = draft.owner, draft.inputs[0]
    _, spatial = spatial_axes(draft.rank(x), getattr(layer, "data_format", "channels_last"))
    smooth = getattr(layer, "interpolation", "nearest") != "nearest"
    return draft.emit(Upsample(spatial, smooth), x, shape=draft.out)


def repeated(draft: Draft, x: int, axis: int, count: int, *, whole: bool) -> int:
    """Each element count times in a row, or the whole axis count times (tile)."""
    shape = list(draft.shape(x))
    if count == 1:
        return x
    at = axis if whole else axis + 1
    wide: Shape = (*shape[:at], 1, *shape[at:])
    z = draft.emit(Reshape(), x, shape=wide)
    z = draft.emit(Expand(), z, shape=(*shape[:at], count, *shape[at:]))
    return draft.emit(Reshape(), z, shape=(*shape[:axis], shape[axis] * count, *shape[axis + 1 :]))


def reduced(draft: Draft, word: Any, axes: Any, keepdims: bool) -> Result:
    """Mean, sum, max, min over axes."""
    x = draft.inputs[0]
    op = Reduce(word, axes_of(axes, draft.rank(x)), keepdims)
    return draft.emit(op, x, shape=draft.out)
