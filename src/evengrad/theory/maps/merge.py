"""Sums, products and quotients of two tensors that are not functions of one and the same.

The two are taken for independent: true where one of them ends in fresh weights of zero mean, as a residual
branch or a gate does. ``E[(x+y)(x'+y')] = K_x + K_y + 2 E[x] E[y]``; products multiply.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evengrad.spec import Combine, Shape
from evengrad.theory import kernel as k
from evengrad.theory.field import ONES, Field, Profile, Signal, function_of, gaussian, united
from evengrad.theory.kernel import Kernel
from evengrad.theory.maps import Rule

_SUMS = {"add", "subtract"}


def aligned(inputs: Sequence[Field], shape: Shape) -> list[Field]:
    """Both with all axes of the result, and with the same parts or none."""
    left, right = inputs
    if left.axis is not None or right.axis is not None:
        alike = (
            left.axis == right.axis
            and left.shape == right.shape
            and np.array_equal(left.sizes, right.sizes)
        )
        narrow = [f for f in inputs if f.axis is None and math.prod(f.shape) == 1]
        if not alike and not narrow:
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
    return [
        gaussian(
            shape,
            kernel,
            mean,
            sizes=parted.sizes,
            axis=parted.axis,
            profile=_profile([left, right], shape, product=op.name not in _SUMS),
        )
    ]


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
    for source, factor in zip(inputs, factors, strict=True):
        kernel = signal.kernel * factor
        if len(kernel) > 1 and len(source.kernel) == 1:
            kernel = np.tensordot(out.sizes / out.sizes.sum(), kernel, axes=1)[None]
        lead = len(out.shape) - len(source.shape)
        profile = {
            a - lead: p
            for a, p in signal.profile.items()
            if a >= lead and source.shape[a - lead] == out.shape[a]
        }
        kernel = k.narrow(kernel, out.shape, source.shape)
        found.append(replace(signal, kernel=kernel, slope=ONES, profile=profile))
    return found


RULES = {Combine: Rule(_combine, _combine_back)}
