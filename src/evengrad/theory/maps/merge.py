"""Sums, products and quotients of two tensors that are not functions of one and the same.

The two are taken for independent: true where one of them ends in fresh weights of zero mean, as a residual
branch or a gate does. ``E[(x+y)(x'+y')] = K_x + K_y + 2 E[x] E[y]``; products multiply.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from evengrad.theory import kernel as k
from evengrad.theory.field import (
    ONES,
    Field,
    Profile,
    Signal,
    function_of,
    gaussian,
    is_normal,
    shaped,
    united,
)
from evengrad.theory.gaussian import NODES, WEIGHTS, dual, expect
from evengrad.theory.kernel import Kernel
from evengrad.theory.maps import OperationMap
from evengrad.values.spec import Array, Combine, Shape

_SUMS = {"add", "subtract"}


def aligned(inputs: Sequence[Field], shape: Shape) -> list[Field]:
    """Both with all axes of the result, and with the same parts or none."""
    left, right = inputs
    if left.axis is not None and right.axis is not None:
        alike = left.axis == right.axis and left.shape == right.shape
        if not alike or not np.array_equal(left.sizes, right.sizes):
            left, right = united(left), united(right)
    lead = [len(shape) - len(f.shape) for f in (left, right)]
    return [
        replace(
            f,
            shape=(1,) * n + f.shape,
            kernel=k.align(f.kernel, len(shape)),
            axis=None if f.axis is None else f.axis + n,
            profile={a + n: p for a, p in f.profile.items()},
        )
        for f, n in zip((left, right), lead, strict=True)
    ]


def _profile(fields: Sequence[Field], shape: Shape, *, product: bool) -> Profile:
    found: Profile = {}
    squares = [max(f.square, 1e-300) for f in fields]
    for a, n in enumerate(shape):
        lines = [np.broadcast_to(f.profile.get(a, np.ones(1)), n) for f in fields]
        if all(a not in f.profile for f in fields):
            continue
        if product:
            line = lines[0] * lines[1]
        else:
            line = (squares[0] * lines[0] + squares[1] * lines[1]) / sum(squares)
        found[a] = line / max(float(line.mean()), 1e-12)
    return found


def _combine(op: Combine, inputs: Sequence[Field], shapes: Sequence[Shape]) -> list[Field]:
    shape = shapes[0]
    left, right = aligned(inputs, shape)
    parted = left if left.axis is not None else right
    wide = (-1,) + (1,) * len(shape)
    if op.name in _SUMS:
        sign = 1.0 if op.name == "add" else -1.0
        cross = 2 * sign * (left.mean * right.mean)
        kernel, mean = (
            left.kernel + right.kernel + cross.reshape(wide),
            left.mean + sign * right.mean,
        )
    else:
        if op.name == "divide":
            right = _reciprocal(right)
        kernel, mean = left.kernel * right.kernel, left.mean * right.mean
        if op.name not in ("multiply", "divide"):
            kernel, mean = (left.kernel + right.kernel) / 2, (left.mean + right.mean) / 2
    found = gaussian(
        shape,
        kernel,
        mean,
        sizes=parted.sizes,
        axis=parted.axis,
        profile=_profile([left, right], shape, product=op.name not in _SUMS),
    )
    if op.name in _SUMS and is_normal(left) and is_normal(right):
        made = found
    else:
        made = shaped(found, _quantiles(op, left, right))
    if op.name not in _SUMS:
        return [made]
    return [replace(made, unrest=_unrest(left, right))]


def _unrest(left: Field, right: Field) -> float:
    """Of a sum: each one's by its share of the energy, which may be too large to be squared."""
    x, y = left.square, right.square
    whole = x + y
    share = x / whole if 0.0 < whole < math.inf else 0.5
    rest = 1.0 - share
    return share * share * left.unrest + rest * rest * right.unrest + 2 * share * rest


_STRIDE = 10  # every tenth node: 200 x 200 pairs have the law of the result to 1%


_BELOW: Array = np.cumsum(WEIGHTS) - WEIGHTS / 2
_SOME = slice(_STRIDE // 2, None, _STRIDE)
_PAIRS: Array = np.outer(WEIGHTS[_SOME], WEIGHTS[_SOME]).ravel()


def _quantiles(op: Combine, left: Field, right: Field) -> Array:
    """The law of an elementwise function of two independent variables, by part, at the nodes."""
    rows: list[Array] = []
    for part in range(max(len(left.values), len(right.values))):
        x = left.values[min(part, len(left.values) - 1)]
        y = right.values[min(part, len(right.values) - 1)]
        plain = _with_a_constant(op, x, y)
        rows.append(_of_pairs(op, x[_SOME], y[_SOME]) if plain is None else plain)
    return np.array(rows)


def _of_pairs(op: Combine, x: Array, y: Array) -> Array:
    if op.name != "multiply":
        return _ranked(np.asarray(op.phi(x[:, None], y[None, :]), dtype=float))
    scales = [float(np.abs(v).max()) or 1.0 for v in (x, y)]
    plain = [np.round(v / s, 9) + 0.0 for v, s in zip((x, y), scales, strict=True)]
    return _product(plain[0].tobytes(), plain[1].tobytes()) * (scales[0] * scales[1])


def _with_a_constant(op: Combine, x: Array, y: Array) -> Array | None:
    """Where one of the two is a constant and the function is monotonic in the other."""
    if x[0] != x[-1] and y[0] != y[-1]:
        return None
    if np.ptp(x) > 0 and np.ptp(y) > 0:
        return None
    found = np.asarray(op.phi(x, y), dtype=float)
    steps = np.diff(found)
    if (steps >= 0).all():
        return found
    reverse: Array = found[::-1]
    return reverse if (steps <= 0).all() else None


@lru_cache(maxsize=256)
def _product(x: bytes, y: bytes) -> Array:
    """Of two factors; the layers of a deep network have the same ones but for their scale."""
    return _ranked(np.outer(np.frombuffer(x), np.frombuffer(y)))


def _ranked(pairs: Array) -> Array:
    found = pairs.ravel()
    order = np.argsort(found, kind="stable")  # rows are sorted already: fewer merges
    reached = np.cumsum(_PAIRS[order])
    quantiles: Array = np.interp(_BELOW, reached / reached[-1], found[order])
    return quantiles


def _reciprocal(source: Field) -> Field:
    """1 / y, for a y that stays away from zero."""
    safe = np.where(np.abs(source.values) > 1e-6, source.values, 1e-6)
    return function_of(source, 1 / safe)


def _combine_back(
    op: Combine,
    inputs: Sequence[Field],
    outputs: Sequence[Field],
    signals: Sequence[Signal | None],
) -> list[Signal | None]:
    signal, out = signals[0], outputs[0]
    if signal is None:
        return [None, None]
    left, right = aligned(inputs, out.shape)
    factors: list[Kernel | float] = [1.0, 1.0]
    if op.name == "multiply":
        factors = [right.kernel, left.kernel]
    elif op.name == "divide":
        inverse = _reciprocal(right)
        factors = [inverse.kernel, left.kernel * function_of(inverse, inverse.values**2).kernel]
    elif op.name not in _SUMS:
        factors = [0.5, 0.5]
    found: list[Signal | None] = []
    for i, (source, factor) in enumerate(zip(inputs, factors, strict=True)):
        kernel = signal.kernel * factor
        other = inputs[1 - i]
        if op.name == "multiply" and other.shape == out.shape != source.shape:
            kernel = _gated(signal, other)
        slope = ONES
        if op.name in _SUMS and signal.lean is not None and source.shape == out.shape:
            slope = _falls_on(op, inputs, i, out, signal.lean)
        if len(kernel) > 1 and len(source.kernel) == 1:
            kernel = np.tensordot(out.sizes / out.sizes.sum(), kernel, axes=1)[None]
        lead = len(out.shape) - len(source.shape)
        profile = {
            a - lead: p
            for a, p in signal.profile.items()
            if a >= lead and source.shape[a - lead] == out.shape[a]
        }
        kernel = k.narrow(kernel, out.shape, source.shape)
        found.append(replace(signal, kernel=kernel, slope=slope, profile=profile, lean=None))
    return found


def _gated(signal: Signal, values: Field) -> Kernel:
    """At a gate: the gradient times what it lets through, where the gradient falls on some values more than
    on others (a ReLU behind a squeeze-and-excite block): then their product has a mean that adds up over
    all places.
    """
    kernel = np.zeros_like(values.kernel)
    for part in signal.parts or (signal,):
        kernel = kernel + part.kernel * dual(part.slope * values.values, values.anchor.rho)
    return kernel


def _falls_on(op: Combine, inputs: Sequence[Field], operand: int, out: Field, lean: Array) -> Array:
    """sqrt(E[delta^2 | this operand]) at its quantiles: where the sum is cut off behind, as by a ReLU, the
    gradient falls on those values of an operand that keep the sum alive.
    """
    rows = []
    some = slice(_STRIDE // 2, None, _STRIDE)
    weights = WEIGHTS[some] / WEIGHTS[some].sum()
    for part in range(len(lean)):
        x, y = (f.values[min(part, len(f.values) - 1)][some] for f in inputs)
        found = np.asarray(op.phi(x[:, None], y[None, :]), dtype=float)
        place = np.interp(found, np.maximum.accumulate(out.values[part]), NODES)
        leaning = np.interp(place, NODES, lean[part])
        given = leaning @ weights if operand == 0 else weights @ leaning
        rows.append(np.interp(NODES, NODES[some], given))
    slope = np.sqrt(np.maximum(np.array(rows), 0.0))
    found_slope: Array = slope / np.sqrt(np.maximum(expect(slope**2), 1e-12))[:, None]
    return found_slope


MAPS = {Combine: OperationMap(_combine, _combine_back)}
