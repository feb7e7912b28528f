"""Pooling, and what moves elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evengrad.adapters.keras.spec.draft import LayerDraft, RuleResult, axes_of
from evengrad.adapters.keras.spec.linear import padded, spatial_axes
from evengrad.values.spec import (
    Expand,
    Pool,
    Reduce,
    Reshape,
    Shape,
    Slice,
    Transpose,
    Upsample,
)

# --- pooling --------------------------------------------------------------------------------------


def pooled(
    draft: LayerDraft, x: int, word: Any, kernel: Any, stride: Any, padding: str, data_format: str
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


def adaptive_pooling(draft: LayerDraft) -> RuleResult:
    """Windows as even as can be; where they do not fit they overlap a little more than Keras' do."""
    layer, x = draft.owner, draft.inputs[0]
    word: Any = "max" if "Max" in _class(layer) else "average"
    _, spatial = spatial_axes(draft.rank(x), layer.data_format)
    sizes, wanted = [[shape[a] for a in spatial] for shape in (draft.shape(x), draft.out)]
    stride = tuple(max(n // m, 1) for n, m in zip(sizes, wanted, strict=True))
    kernel = tuple(max(n - (m - 1) * s, 1) for n, m, s in zip(sizes, wanted, stride, strict=True))
    ones, none = (1,) * len(spatial), ((0, 0),) * len(spatial)
    return draft.emit(Pool(word, spatial, kernel, stride, none, ones), x, shape=draft.out)


# --- moving ---------------------------------------------------------------------------------------


def reshape(draft: LayerDraft) -> RuleResult:
    """A layer that keeps the elements and their order."""
    return draft.emit(Reshape(), draft.inputs[0], shape=draft.out)


def transposed(draft: LayerDraft, x: int, order: Sequence[int]) -> int:
    """Axes in another order."""
    shape = draft.shape(x)
    return draft.emit(Transpose(tuple(order)), x, shape=[shape[a] for a in order])


def sliced(draft: LayerDraft, x: int, axis: int, start: int, length: int, step: int = 1) -> int:
    """A part of one axis."""
    shape = list(draft.shape(x))
    shape[axis] = length
    return draft.emit(Slice(axis, ((start, length),), step), x, shape=shape)


def upsampling(draft: LayerDraft) -> RuleResult:
    """UpSampling1D to UpSampling3D."""
    layer, x = draft.owner, draft.inputs[0]
    _, spatial = spatial_axes(draft.rank(x), getattr(layer, "data_format", "channels_last"))
    smooth = getattr(layer, "interpolation", "nearest") != "nearest"
    return draft.emit(Upsample(spatial, smooth), x, shape=draft.out)


def repeated(draft: LayerDraft, x: int, axis: int, count: int, *, whole: bool) -> int:
    """Each element count times in a row, or the whole axis count times (tile)."""
    shape = list(draft.shape(x))
    if count == 1:
        return x
    at = axis if whole else axis + 1
    wide: Shape = (*shape[:at], 1, *shape[at:])
    z = draft.emit(Reshape(), x, shape=wide)
    z = draft.emit(Expand(), z, shape=(*shape[:at], count, *shape[at:]))
    return draft.emit(Reshape(), z, shape=(*shape[:axis], shape[axis] * count, *shape[axis + 1 :]))


def reduced(draft: LayerDraft, word: Any, axes: Any, keepdims: bool) -> RuleResult:
    """Mean, sum, max, min over axes."""
    x = draft.inputs[0]
    op = Reduce(word, axes_of(axes, draft.rank(x)), keepdims)
    return draft.emit(op, x, shape=draft.out)
