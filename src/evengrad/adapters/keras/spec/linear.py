"""Layers with weights: dense, convolution, embedding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.spec.draft import LayerDraft, RuleResult
from evengrad.values.spec import Convolution, Dense, Embedding, Law, Shape, Transpose

Padding = tuple[tuple[int, int], ...]


def dense(draft: LayerDraft) -> RuleResult:
    """Dense on any rank."""
    x, layer = draft.inputs[0], draft.owner
    last = (draft.rank(x) - 1,)
    weight = _effective(draft, layer, "kernel")
    op = Dense(weight, draft.law(layer.bias), last, last)
    return draft.emit(op, x, shape=(*draft.shape(x)[:-1], layer.units))


def _effective(draft: LayerDraft, layer: Any, name: str) -> Law:
    law = draft.law(compat.kernel_of(layer, name))
    assert law is not None
    return law


def einsum_dense(draft: LayerDraft) -> RuleResult:
    """EinsumDense: an equation of the input and the kernel."""
    layer = draft.owner
    weight = _effective(draft, layer, "kernel")
    return by_equation(draft, draft.inputs[0], layer.equation, weight, draft.law(layer.bias))


def by_equation(draft: LayerDraft, x: int, equation: str, weight: Law, bias: Law | None) -> int:
    """A dense map given as "ab,bc->ac", the weight second; ellipses stand for kept axes."""
    source, _, result = spelled(equation, draft.rank(x))
    reads = tuple(i for i, c in enumerate(source) if c not in result)
    new = tuple(c for c in result if c not in source)
    sizes = dict(zip(source, draft.shape(x), strict=True))
    made = tuple(i for i, c in enumerate(result) if c in new)
    kept = [c for c in source if c in result]
    plain = list(kept)
    for i in made:
        plain.insert(i, result[i])
    sizes.update(_new_sizes(draft, result, new))
    op = Dense(weight, bias, reads, made)
    z = draft.emit(op, x, shape=[sizes[c] for c in plain])
    if "".join(plain) == result:
        return z
    order = tuple(plain.index(c) for c in result)
    return draft.emit(Transpose(order), z, shape=[sizes[c] for c in result])


def _new_sizes(draft: LayerDraft, result: str, new: Sequence[str]) -> dict[str, int]:
    """Lengths of the new axes, by the result's shape."""
    shape = getattr(draft.owner, "full_output_shape", None)
    if shape is None or len(shape) != len(result) or any(n is None for n in shape[1:]):
        shape = draft.out
    return {c: int(shape[result.index(c)]) for c in new}


def spelled(equation: str, rank: int) -> tuple[str, str, str]:
    """Input, kernel and result of an equation, with letters for an ellipsis."""
    source, result = equation.replace(" ", "").split("->")
    parts = source.split(",")
    left, kernel = parts[0], parts[1] if len(parts) > 1 else ""
    if "..." in left or "..." in result:
        free = [c for c in "zyxwvutsrqponmlkjihgfedcba" if c not in equation]
        letters = "".join(free[: rank - len(left.replace("...", ""))])
        left, result = left.replace("...", letters), result.replace("...", letters)
        kernel = kernel.replace("...", "")
    return left, kernel, result


def embedding(draft: LayerDraft) -> RuleResult:
    """Rows of a table; with reverse=True the product with its transpose."""
    layer, x = draft.owner, draft.inputs[0]
    law = draft.table.law(compat.kernel_of(layer, "embeddings"))
    if draft.call.kwargs.get("reverse") or (
        len(draft.call.args) > 1 and draft.call.args[1] is True
    ):
        last = (draft.rank(x) - 1,)
        return draft.emit(Dense(law, None, last, last), x, shape=draft.out)
    return draft.emit(Embedding(law), x, shape=draft.out)


# --- convolutions ---------------------------------------------------------------------------------


def spatial_axes(rank: int, data_format: str) -> tuple[int, tuple[int, ...]]:
    """The channels' axis, and the others but the batch."""
    if data_format == "channels_first":
        return 1, tuple(range(2, rank))
    return rank - 1, tuple(range(1, rank - 1))


def padded(
    word: str,
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Padding:
    """(before, after) of "valid", "same" or "causal", as TensorFlow has them."""
    found = []
    for n, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
        if word == "same":
            whole = max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
            found.append((whole // 2, whole - whole // 2))
        else:
            found.append(((k - 1) * d if word == "causal" else 0, 0))
    return tuple(found)


def convolved(sizes: Sequence[int], op: Convolution) -> list[int]:
    """Spatial sizes of the result."""
    return [
        (n + sum(p) - (k - 1) * d - 1) // s + 1
        for n, k, s, d, p in zip(sizes, op.kernel, op.stride, op.dilation, op.padding, strict=True)
    ]


def emit_convolution(
    draft: LayerDraft,
    x: int,
    weight: Law,
    bias: Law | None,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: str,
    filters: int,
    groups: int,
    data_format: str,
) -> int:
    """A convolution that is not transposed."""
    channels, spatial = spatial_axes(draft.rank(x), data_format)
    sizes = [draft.shape(x)[a] for a in spatial]
    op = Convolution(
        weight,
        bias,
        channels,
        spatial,
        tuple(kernel),
        tuple(stride),
        tuple(dilation),
        padded(padding, sizes, kernel, stride, dilation),
        groups,
    )
    shape = list(draft.shape(x))
    shape[channels] = filters
    for axis, n in zip(spatial, convolved(sizes, op), strict=True):
        shape[axis] = n
    return draft.emit(op, x, shape=shape)


def convolution(draft: LayerDraft) -> RuleResult:
    """Conv1D to Conv3D."""
    layer = draft.owner
    return emit_convolution(
        draft,
        draft.inputs[0],
        draft.table.law(compat.kernel_of(layer), layer.rank),
        draft.law(layer.bias),
        kernel=layer.kernel_size,
        stride=layer.strides,
        dilation=layer.dilation_rate,
        padding=layer.padding,
        filters=layer.filters,
        groups=layer.groups,
        data_format=layer.data_format,
    )


def depthwise(draft: LayerDraft) -> RuleResult:
    """DepthwiseConv1D, DepthwiseConv2D."""
    layer, x = draft.owner, draft.inputs[0]
    return _depthwise(draft, x, layer.kernel, draft.law(layer.bias))


def _depthwise(draft: LayerDraft, x: int, kernel: Any, bias: Law | None) -> int:
    layer = draft.owner
    channels, _ = spatial_axes(draft.rank(x), layer.data_format)
    count = draft.shape(x)[channels]
    return emit_convolution(
        draft,
        x,
        draft.table.law(kernel, layer.rank),
        bias,
        kernel=layer.kernel_size,
        stride=layer.strides,
        dilation=layer.dilation_rate,
        padding=layer.padding,
        filters=count * layer.depth_multiplier,
        groups=count,
        data_format=layer.data_format,
    )


def separable(draft: LayerDraft) -> RuleResult:
    """SeparableConv1D, SeparableConv2D: depthwise, then across channels."""
    layer = draft.owner
    ones = (1,) * layer.rank
    z = _depthwise(draft, draft.inputs[0], layer.depthwise_kernel, None)
    return emit_convolution(
        draft,
        z,
        draft.table.law(layer.pointwise_kernel),
        draft.law(layer.bias),
        kernel=ones,
        stride=ones,
        dilation=ones,
        padding="valid",
        filters=layer.filters,
        groups=1,
        data_format=layer.data_format,
    )


def transposed(draft: LayerDraft) -> RuleResult:
    """Conv1DTranspose to Conv3DTranspose."""
    layer, x = draft.owner, draft.inputs[0]
    channels, spatial = spatial_axes(draft.rank(x), layer.data_format)
    crops, out = [], draft.out
    for axis, k, s, d in zip(
        spatial, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        crop = (draft.shape(x)[axis] - 1) * s + (k - 1) * d + 1 - out[axis]
        crops.append((crop // 2, crop - crop // 2) if crop > 0 else (0, crop))
    op = Convolution(
        draft.table.law(layer.kernel, layer.rank),
        draft.law(layer.bias),
        channels,
        spatial,
        tuple(layer.kernel_size),
        tuple(layer.strides),
        tuple(layer.dilation_rate),
        tuple(crops),
        transposed=True,
    )
    return draft.emit(op, x, shape=_typed(out))


def _typed(shape: Sequence[int]) -> Shape:
    return tuple(int(n) for n in shape)
