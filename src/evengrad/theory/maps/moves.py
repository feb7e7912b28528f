"""Operations that move, copy or drop elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evengrad.theory import kernel as k
from evengrad.theory.field import (
    ONES,
    Field,
    Fields,
    Profile,
    Signal,
    Signals,
    gaussian,
    part_of,
    united,
)
from evengrad.theory.kernel import Kernel
from evengrad.theory.maps import OperationMap
from evengrad.values.spec import (
    Concatenate,
    Expand,
    Pad,
    Reshape,
    Select,
    Shape,
    Shuffle,
    Slice,
    Transpose,
    Upsample,
)


def _sent(signal: Signal, kernel: Kernel, profile: Profile) -> list[Signal | None]:
    return [replace(signal, kernel=kernel, slope=ONES, profile=profile)]


# --- the same elements elsewhere ------------------------------------------------------------------


def _kept_axes(old: Shape, new: Shape) -> dict[int, int]:
    """Axes that a reshape leaves whole: before -> after."""
    return {a: c for a, b, c, d in k.groups(old, new) if b == a + 1 and d == c + 1}


def _reshape(op: Reshape, inputs: Fields, shapes: Sequence[Shape]) -> list[Field]:
    source, shape = inputs[0], shapes[0]
    if source.shape == shape:
        return [source]
    where = _kept_axes(source.shape, shape)
    if source.axis is not None and source.axis not in where:
        source = united(source)
    kernel = k.reshape(source.kernel, source.shape, shape)
    profile = {where[a]: p for a, p in source.profile.items() if a in where}
    axis = None if source.axis is None else where[source.axis]
    return [
        replace(
            source,
            shape=shape,
            kernel=kernel,
            axis=axis,
            profile=profile,
            anchor=replace(
                source.anchor,
                rho=np.clip(k.reshape(source.anchor.rho, source.shape, shape), -1, 1),
                profile={where[a]: p for a, p in source.anchor.profile.items() if a in where},
            ),
        )
    ]


def _reshape_back(
    op: Reshape, inputs: Fields, outputs: Fields, signals: Signals
) -> list[Signal | None]:
    if signals[0] is None:
        return [None]
    old, new = outputs[0].shape, inputs[0].shape
    where = _kept_axes(old, new)
    profile = {where[a]: p for a, p in signals[0].profile.items() if a in where}
    return _sent(signals[0], k.reshape(signals[0].kernel, old, new), profile)


def _transpose(op: Transpose, inputs: Fields, shapes: Sequence[Shape]) -> list[Field]:
    source = inputs[0]
    to = {a: i for i, a in enumerate(op.permutation)}
    return [
        replace(
            source,
            shape=shapes[0],
            kernel=k.transpose(source.kernel, op.permutation),
            axis=None if source.axis is None else to[source.axis],
            profile={to[a]: p for a, p in source.profile.items()},
            anchor=replace(
                source.anchor,
                rho=k.transpose(source.anchor.rho, op.permutation),
                profile={to[a]: p for a, p in source.anchor.profile.items()},
            ),
        )
    ]


def _transpose_back(
    op: Transpose, inputs: Fields, outputs: Fields, signals: Signals
) -> list[Signal | None]:
    if signals[0] is None:
        return [None]
    back = [op.permutation.index(a) for a in range(len(op.permutation))]
    profile = {op.permutation[a]: p for a, p in signals[0].profile.items()}
    return _sent(signals[0], k.transpose(signals[0].kernel, back), profile)


def _shuffle(op: Shuffle, inputs: Fields, shapes: Sequence[Shape]) -> list[Field]:
    return [united(inputs[0])]


def _shuffle_back(
    op: Shuffle, inputs: Fields, outputs: Fields, signals: Signals
) -> list[Signal | None]:
    return [signals[0]]


def _expand(op: Expand, inputs: Fields, shapes: Sequence[Shape]) -> list[Field]:
    source, shape = inputs[0], shapes[0]
    lead = len(shape) - len(source.shape)
    return [
        gaussian(
            shape,
            k.align(source.kernel, len(shape)),
            source.mean,
            sizes=source.sizes,
            axis=None if source.axis is None else source.axis + lead,
            profile={a + lead: p for a, p in source.profile.items()},
        )
    ]


def _expand_back(
    op: Expand, inputs: Fields, outputs: Fields, signals: Signals
) -> list[Signal | None]:
    if signals[0] is None:
        return [None]
    return _sent(signals[0], k.narrow(signals[0].kernel, outputs[0].shape, inputs[0].shape), {})


# --- parts ----------------------------------------------------------------------------------------


def _concatenate(op: Concatenate, inputs: Fields, shapes: Sequence[Shape]) -> list[Field]:
    shape = shapes[0]
    ready = [f if f.axis in (None, op.axis) else united(f) for f in inputs]
    kernel = np.concatenate([f.kernel for f in ready])
    sizes = np.concatenate(
        [f.sizes if f.axis == op.axis and len(f.sizes) > 1 else [f.shape[op.axis]] for f in ready]
    ).astype(float)
    mean = np.concatenate([f.mean for f in ready])
    field = gaussian(shape, kernel, mean, sizes=sizes, axis=op.axis, profile=ready[0].profile)
    return [united(field) if len(sizes) > _MOST else field]


_MOST = 64  # parts kept apart


def _concatenate_back(
    op: Concatenate, inputs: Fields, outputs: Fields, signals: Signals
) -> list[Signal | None]:
    signal = signals[0]
    if signal is None:
        return [None] * len(inputs)
    found: list[Signal | None] = []
    start = 0
    for source in inputs:
        parts = len(source.sizes) if source.axis == op.axis else 1
        kernel = signal.kernel
        if len(kernel) > 1:
            kernel = kernel[start : start + parts]
        start += parts
        found.append(replace(signal, kernel=kernel, slope=ONES))
    return found


def _slice(op: Slice, inputs: Fields, shapes: Sequence[Shape]) -> list[Field]:
    source = united(inputs[0]) if inputs[0].axis == op.axis else inputs[0]
    found = []
    for shape in shapes:
        kernel = source.kernel
        profile = {a: p for a, p in source.profile.items() if a != op.axis}
        part = gaussian(
            shape,
            _short(kernel, shape),
            source.mean,
            sizes=source.sizes,
            axis=source.axis,
            profile=profile,
        )
        found.append(part_of(source, part))
    return found


def _short(kernel: Kernel, shape: Shape) -> Kernel:
    for axis, n in enumerate(shape):
        if n == 1:
            kernel = np.repeat(np.take(kernel, [0], axis + 1), 2, axis + 1)
    return kernel


def _slice_back(
    op: Slice, inputs: Fields, outputs: Fields, signals: Signals
) -> list[Signal | None]:
    """Each output's gradient comes from its share of the axis, the rest of which gets none."""
    n = inputs[0].shape[op.axis]
    found: Kernel | None = None
    first: Signal | None = None
    spread = overlap = depth = 0.0
    for signal, out in zip(signals, outputs, strict=True):
        if signal is None:
            continue
        share = out.shape[op.axis] / n
        factor = np.array([share, share**2]).reshape(
            [2 if a == op.axis + 1 else 1 for a in range(signal.kernel.ndim)]
        )
        part = signal.kernel * factor
        found = part if found is None else found + part
        first = first or signal
        spread, overlap = max(spread, signal.spread), max(overlap, signal.overlap)
        depth = max(depth, signal.depth)
    if first is None or found is None:
        return [None]
    profile = {a: p for a, p in first.profile.items() if a != op.axis}
    return [Signal(found, ONES, profile, spread, overlap, None, depth)]


def _part_at(op: Select, source: Field) -> int | None:
    """Which part of the axis the index lies in."""
    if op.index is None or source.axis != op.axis or len(source.sizes) < 2:
        return None
    place = op.index % source.shape[op.axis]
    return int(np.searchsorted(np.cumsum(source.sizes), place, side="right"))


def _select(op: Select, inputs: Fields, shapes: Sequence[Shape]) -> list[Field]:
    part = _part_at(op, inputs[0])
    if part is not None:
        kernel = k.same(inputs[0].kernel[part : part + 1], (op.axis,))
        return [gaussian(shapes[0], kernel, inputs[0].mean[part : part + 1])]
    source = united(inputs[0]) if inputs[0].axis == op.axis else inputs[0]
    left = [a for a in range(len(source.shape)) if a != op.axis]
    found = []
    for shape in shapes:  # each an anchor of its own: they are no functions of one another
        made = gaussian(
            shape,
            k.same(source.kernel, (op.axis,)),
            source.mean,
            sizes=source.sizes,
            axis=None if source.axis is None else left.index(source.axis),
            profile={left.index(a): p for a, p in source.profile.items() if a in left},
        )
        found.append(part_of(source, made))
    return found


def _to_part(op: Select, source: Field, signal: Signal, part: int) -> Signal:
    """The gradient of one index lies in its part alone."""
    first = k.insert(signal.kernel, signal.kernel * 0, (op.axis,), source.shape)
    kernel = np.zeros((len(source.sizes), *first.shape[1:]))
    kernel[part] = first[0] / source.sizes[part]
    return replace(signal, kernel=kernel, slope=ONES, profile={})


def _select_back(
    op: Select, inputs: Fields, outputs: Fields, signals: Signals
) -> list[Signal | None]:
    part = _part_at(op, inputs[0])
    if part is not None and signals[0] is not None:
        return [_to_part(op, inputs[0], signals[0], part)]
    wide: list[Signal | None] = []
    for signal in signals:
        if signal is None:
            wide.append(None)
            continue
        shape = (*inputs[0].shape[: op.axis], 1, *inputs[0].shape[op.axis + 1 :])
        kernel = k.insert(signal.kernel, signal.kernel * 0, (op.axis,), shape)
        wide.append(replace(signal, kernel=kernel, profile={}))
    shape = (*inputs[0].shape[: op.axis], 1, *inputs[0].shape[op.axis + 1 :])
    outs = [replace(o, shape=shape) for o in outputs]
    return _slice_back(Slice(op.axis, ()), inputs, outs, wide)


# --- more places ----------------------------------------------------------------------------------


def _along(axis: int, first: Kernel, other: Kernel) -> Kernel:
    return np.stack([first, other], axis + 1)


def _pad(op: Pad, inputs: Fields, shapes: Sequence[Shape]) -> list[Field]:
    source, shape = inputs[0], shapes[0]
    if not op.zeros:
        return [replace(source, shape=shape, profile={}, anchor=replace(source.anchor, profile={}))]
    source = united(source) if source.axis in op.axes else source
    kernel, mean, profile = source.kernel, source.mean, dict(source.profile)
    for axis, (before, after) in zip(op.axes, op.padding, strict=True):
        n = source.shape[axis]
        share = n / shape[axis]
        factor = np.array([share, share**2]).reshape(
            [2 if a == axis + 1 else 1 for a in range(kernel.ndim)]
        )
        kernel, mean = kernel * factor, mean * share
        line = np.zeros(shape[axis])
        low, high = max(before, 0), shape[axis] - max(after, 0)
        inner = profile.get(axis, np.ones(n))
        line[low:high] = inner[max(-before, 0) : n - max(-after, 0)]
        profile[axis] = line / max(line.mean(), 1e-12)
    return [gaussian(shape, kernel, mean, sizes=source.sizes, axis=source.axis, profile=profile)]


def _pad_back(op: Pad, inputs: Fields, outputs: Fields, signals: Signals) -> list[Signal | None]:
    signal, source, out = signals[0], inputs[0], outputs[0]
    if signal is None:
        return [None]
    kernel, profile = signal.kernel, dict(signal.profile)
    for axis, (before, _) in zip(op.axes, op.padding, strict=True):
        line = profile.get(axis, np.ones(out.shape[axis]))
        start = max(before, 0)
        inner = line[start : start + source.shape[axis]]
        if op.zeros and len(inner) == source.shape[axis]:
            level = float(inner.mean() / max(line.mean(), 1e-12))
            kernel = kernel * level
            profile[axis] = inner / max(inner.mean(), 1e-12)
        else:
            kernel = kernel * (out.shape[axis] / source.shape[axis])
            profile.pop(axis, None)
    return _sent(signal, kernel, profile)


def _upsample(op: Upsample, inputs: Fields, shapes: Sequence[Shape]) -> list[Field]:
    source, shape = inputs[0], shapes[0]
    kernel = source.kernel
    for axis in op.spatial:
        old, new = source.shape[axis], shape[axis]
        first, other = np.take(kernel, 0, axis + 1), np.take(kernel, 1, axis + 1)
        if op.smooth and new != old:
            first = 2 / 3 * first + 1 / 3 * other  # the mean of w^2 + (1-w)^2 along a straight line
        whole = k.pair_mean(kernel, {axis: old})
        other = (whole * new - first) / max(new - 1, 1)
        kernel = _along(axis, first, other)
    return [gaussian(shape, kernel, source.mean, sizes=source.sizes, axis=source.axis)]


def _upsample_back(
    op: Upsample, inputs: Fields, outputs: Fields, signals: Signals
) -> list[Signal | None]:
    """Each place gets the sum over its copies; the sum over all pairs is kept."""
    signal = signals[0]
    if signal is None:
        return [None]
    kernel = signal.kernel
    for axis in op.spatial:
        old, new = inputs[0].shape[axis], outputs[0].shape[axis]
        copies = new / old
        first, other = np.take(kernel, 0, axis + 1), np.take(kernel, 1, axis + 1)
        whole = k.pair_mean(kernel, {axis: new}) * copies**2
        straight = 2 / 3 if op.smooth and new != old else 1.0
        here = copies * straight * first + copies * (copies - straight) * other
        kernel = _along(axis, here, (whole * old - here) / max(old - 1, 1))
    return _sent(signal, kernel, {})


MAPS = {
    Reshape: OperationMap(_reshape, _reshape_back),
    Transpose: OperationMap(_transpose, _transpose_back),
    Shuffle: OperationMap(_shuffle, _shuffle_back),
    Expand: OperationMap(_expand, _expand_back),
    Concatenate: OperationMap(_concatenate, _concatenate_back),
    Slice: OperationMap(_slice, _slice_back),
    Select: OperationMap(_select, _select_back),
    Pad: OperationMap(_pad, _pad_back),
    Upsample: OperationMap(_upsample, _upsample_back),
}
