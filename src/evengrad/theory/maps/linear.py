"""Dense layers, convolutions and embeddings: linear maps by independent random weights.

Per element, summed over what a weight's row reads (He 2015, 1502.01852; Xiao 2018, 1806.05393):
``E[z z'] = n Var(w) E[x x'] + (n E[w])^2 mean(E[x_i x_j'])`` for the same unit, and backwards the same with
the number of units that an input feeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evengrad.theory.field import ONES, Field, Profile, Signal, gaussian, united
from evengrad.theory.kernel import Kernel, independent, insert, pair_mean, same
from evengrad.theory.maps import OperationMap
from evengrad.theory.windows import Window, even
from evengrad.values.spec import Array, Convolution, Dense, Embedding, Law, Shape

_SIGMA = 4.0  # a measured mean within so many standard errors of zero counts as zero


def _moments(law: Law, size: int) -> tuple[float, float]:
    """Variance and mean of the weights; a mean that the finite number of weights explains is none."""
    error = math.sqrt(law.variance / max(size, 1))
    if abs(law.mean) <= _SIGMA * error:
        return law.rms**2, 0.0
    return law.variance, law.mean


def _mixed(kernel: Kernel, sizes: dict[int, int], law: Law, weights: int) -> tuple[Kernel, Kernel]:
    """(same unit, another unit) of a random linear map over some axes."""
    variance, mean = _moments(law, weights)
    n = math.prod(sizes.values())
    other = np.zeros_like(same(kernel, tuple(sizes)))
    if mean:
        other = (n * mean) ** 2 * pair_mean(kernel, sizes)
    return n * variance * same(kernel, tuple(sizes)) + other, other


def _with_bias(first: Kernel, other: Kernel, bias: Law | None, units: int) -> tuple[Kernel, Kernel]:
    if bias is None:
        return first, other
    return first + bias.rms**2, other + _moments(bias, units)[1] ** 2


def _mean(source: Field, n: int, law: Law, bias: Law | None, units: int) -> Array:
    found = n * _moments(law, n * units)[1] * source.mean
    return found if bias is None else found + _moments(bias, units)[1]


def _moved(dropped: Sequence[int], made: Sequence[int], ndim: int) -> dict[int, int]:
    """Axis before -> axis after, for those that stay."""
    kept = [a for a in range(ndim) if a not in dropped]
    places = [a for a in range(len(kept) + len(made)) if a not in made]
    return dict(zip(kept, places, strict=True))


def _dense(op: Dense, inputs: Sequence[Field], shapes: Sequence[Shape]) -> list[Field]:
    source, shape = inputs[0], shapes[0]
    if source.axis in op.reads:
        source = united(source)
    sizes = {a: source.shape[a] for a in op.reads}
    n, units = math.prod(sizes.values()), math.prod(shape[a] for a in op.makes)
    first, other = _mixed(source.kernel, sizes, op.weight, n * units)
    first, other = _with_bias(first, other, op.bias, units)
    where = _moved(op.reads, op.makes, len(source.shape))
    axis = None if source.axis is None else where[source.axis]
    return [
        gaussian(
            shape,
            insert(first, other, op.makes, shape),
            _mean(source, n, op.weight, op.bias, units),
            sizes=source.sizes,
            axis=axis,
            profile={where[a]: p for a, p in source.profile.items() if a in where},
        )
    ]


def _dense_back(
    op: Dense, inputs: Sequence[Field], outputs: Sequence[Field], signals: Sequence[Signal | None]
) -> list[Signal | None]:
    signal, source, out = signals[0], inputs[0], outputs[0]
    if signal is None:
        return [None]
    sizes = {a: out.shape[a] for a in op.makes}
    n, units = math.prod(source.shape[a] for a in op.reads), math.prod(sizes.values())
    first, other = _mixed(signal.kernel, sizes, op.weight, n * units)
    where = _moved(op.makes, op.reads, len(out.shape))
    profile = {where[a]: p for a, p in signal.profile.items() if a in where}
    kernel = insert(first, other, op.reads, source.shape)
    return [spread_by_weights(Signal(kernel, ONES, profile), signal, source, n)]


def spread_by_weights(
    made: Signal, signal: Signal, source: Field, units: int, taps: int = 1
) -> Signal:
    """The fluctuation over seeds that random weights add: Var log E = 2 mean(cos^2) over pairs of gradients /
    number of inputs.

    Args:
        made: the gradient below the weights.
        signal: the gradient above them.
        source: the tensor that they read.
        units: inputs with weights of their own (channels).
        taps: of a window; their angles average out.

    Returns:
        The gradient below, with its spread, overlap and depth.

    References:
        Hanin and Nica 2018, 1812.05994, for any number of gradients.
    """
    flat = made.kernel.reshape(len(made.kernel), -1)
    first = flat[:, :1]
    squares = (flat / np.where(first > 0, first, 1.0)) ** 2
    sizes = dict(enumerate(source.shape))
    pairs = float(pair_mean(squares.reshape(made.kernel.shape), sizes).mean())
    places = max(math.prod(source.shape) / units, 1.0)
    overlap = signal.overlap / taps
    grown = 2 * (pairs + overlap / units * (1 - 1 / places))
    overlap = overlap + (1 - overlap) / max(units, 1)
    return replace(
        made,
        spread=signal.spread + grown,
        overlap=min(overlap, 1.0),
        depth=signal.depth + 1,
    )


def _slid(
    kernel: Kernel, profile: Profile, op: Convolution, shapes: tuple[Shape, Shape], *, gather: bool
) -> tuple[Kernel, Profile]:
    """The spatial part, from the first shape to the second: each place gathers from its taps, or scatters
    to them (backwards, and a transposed convolution forwards).
    """
    found = {a: line for a, line in profile.items() if a != op.channels}
    for i, axis in enumerate(op.spatial):
        old, new = shapes[0][axis], shapes[1][axis]
        places = (old, new) if gather else (new, old)
        window = Window(
            places, op.kernel[i], op.stride[i], op.dilation[i], op.padding[i][0], _taps(op, i)
        )
        before = profile.get(axis, np.ones(old))
        after = window.gather(before) if gather else window.scatter(before)
        level = float(after.mean())
        found[axis] = after / level if level > 0 else np.ones(new)
        apart = window.together(before, gather=gather) if new > 1 else level
        factor = np.array([level, apart])
        kernel = kernel * factor.reshape([2 if a == axis + 1 else 1 for a in range(kernel.ndim)])
    return kernel, found


def _taps(op: Convolution, i: int) -> tuple[float, ...]:
    """Shares of the energy along the i-th spatial axis."""
    if op.weight.taps is None:
        return even(op.kernel[i])
    others = tuple(j for j in range(len(op.kernel)) if j != i)
    return tuple(float(t) for t in np.reshape(op.weight.taps, op.kernel).sum(axis=others))


def _mix_channels(
    kernel: Kernel,
    channels: int,
    n: int,
    weights: tuple[Law, int],
    shape: Shape,
    taps: int,
    *,
    centred: bool = False,
) -> Kernel:
    """Over the n channels of a group and the taps; a group of one keeps its channel."""
    variance, mean = _moments(*weights)
    here = same(kernel, (channels,))
    elsewhere = kernel[(slice(None),) * (channels + 1) + (1,)]
    if centred:
        here = here - elsewhere
    average = here / n + (1 - 1 / n) * elsewhere
    level = (n * taps * mean) ** 2
    first = n * taps * variance * here + level * average
    return insert(first, level * elsewhere, (channels,), shape)


def _convolution(op: Convolution, inputs: Sequence[Field], shapes: Sequence[Shape]) -> list[Field]:
    source, shape = inputs[0], shapes[0]
    depthwise = op.groups > 1 and op.groups == source.shape[op.channels]
    if source.axis is not None and not (depthwise and shape[op.channels] == op.groups):
        source = united(source)
    n, taps = source.shape[op.channels] // op.groups, math.prod(op.kernel)
    weights = n * taps * shape[op.channels]
    kernel, profile = _slid(
        source.kernel, source.profile, op, (source.shape, shape), gather=not op.transposed
    )
    law = (op.weight, weights)
    kernel = _mix_channels(kernel, op.channels, n, law, shape, taps, centred=op.weight.centred)
    if op.bias is not None:
        bias = independent(shape, op.bias.rms**2, _moments(op.bias, shape[op.channels])[1])
        kernel = kernel + _per_channel(bias, op.channels)
    mean = _mean(source, n * taps, op.weight, op.bias, shape[op.channels])
    return [gaussian(shape, kernel, mean, sizes=source.sizes, axis=source.axis, profile=profile)]


def _per_channel(kernel: Kernel, channels: int) -> Kernel:
    """The same along all other axes, as a bias is."""
    index = tuple(slice(None) if a == channels + 1 else 0 for a in range(1, kernel.ndim))
    line = kernel[(slice(None), *index)]
    return line.reshape([-1] + [2 if a == channels + 1 else 1 for a in range(1, kernel.ndim)])


def _convolution_back(
    op: Convolution,
    inputs: Sequence[Field],
    outputs: Sequence[Field],
    signals: Sequence[Signal | None],
) -> list[Signal | None]:
    signal, source, out = signals[0], inputs[0], outputs[0]
    if signal is None:
        return [None]
    n, taps = out.shape[op.channels] // op.groups, math.prod(op.kernel)
    weights = (op.weight, n * taps * source.shape[op.channels])
    kernel, profile = _slid(
        signal.kernel, signal.profile, op, (out.shape, source.shape), gather=op.transposed
    )
    if len(kernel) > 1 and len(source.kernel) == 1:
        kernel = kernel.mean(axis=0, keepdims=True)
    kernel = _mix_channels(kernel, op.channels, n, weights, source.shape, taps)
    units = source.shape[op.channels]
    return [spread_by_weights(Signal(kernel, ONES, profile), signal, source, units, taps)]


def _embedding(op: Embedding, inputs: Sequence[Field], shapes: Sequence[Shape]) -> list[Field]:
    kernel = independent(shapes[0], op.weight.rms**2, op.weight.mean)
    return [gaussian(shapes[0], kernel, np.array([op.weight.mean]))]


def _embedding_back(
    op: Embedding,
    inputs: Sequence[Field],
    outputs: Sequence[Field],
    signals: Sequence[Signal | None],
) -> list[Signal | None]:
    return [None]


MAPS = {
    Dense: OperationMap(_dense, _dense_back),
    Convolution: OperationMap(_convolution, _convolution_back),
    Embedding: OperationMap(_embedding, _embedding_back),
}
