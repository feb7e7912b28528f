"""Second moments of a random tensor whose axes are exchangeable.

A kernel K of a tensor with n axes is an array of shape (parts, 2, ..., 2): for two elements of the tensor,
index 0 along an axis means that they have the same place there, 1 that they have different places. So
K[0, ..., 0] = E[x^2], and in a net of shape (batch, channels) K[.., 1, 0] = E[x_bc x_b'c]. Along an axis of
length 1, which may be broadcast, both entries are equal. Parts: see ``field``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from evengrad.values.spec import Shape

Kernel = npt.NDArray[Any]


def independent(shape: Shape, square: float, mean: float = 0.0) -> Kernel:
    """Of independent, equal elements with E[x^2] = square and E[x] = mean; one part."""
    kernel = np.full((1,) + (2,) * len(shape), mean**2)
    kernel[(0, *(slice(None) if n == 1 else 0 for n in shape))] = square
    return kernel


def same(kernel: Kernel, axes: Sequence[int]) -> Kernel:
    """At the same place along those axes, which are dropped."""
    return kernel[(slice(None), *(0 if a in axes else slice(None) for a in range(kernel.ndim - 1)))]


def pair_mean(kernel: Kernel, sizes: dict[int, int], *, keep: bool = False) -> Kernel:
    """Mean over all pairs of places, equal ones included, along the axes of those lengths."""
    for axis in sorted(sizes, reverse=True):
        n = sizes[axis]
        first, other = np.take(kernel, [0], axis + 1), np.take(kernel, [1], axis + 1)
        kernel = first / n + other * (1 - 1 / n)
        if not keep:
            kernel = np.squeeze(kernel, axis + 1)
    return kernel


def insert(kernel: Kernel, other: Kernel, axes: Sequence[int], shape: Shape) -> Kernel:
    """New axes: kernel where all their places are the same, other where any differs.

    axes: where they stand in the result, whose shape is given.
    """
    ndim = len(shape)
    found = np.empty((len(kernel),) + (2,) * ndim)
    for combination in product((0, 1), repeat=len(axes)):
        place = dict(zip(axes, combination, strict=True))
        index = tuple(place.get(a, slice(None)) for a in range(ndim))
        equal = all(shape[a] == 1 or not bit for a, bit in place.items())
        found[(slice(None), *index)] = kernel if equal else other
    return found


def reshape(kernel: Kernel, old: Shape, new: Shape) -> Kernel:
    """The kernel of the same elements in another shape: neighbouring axes merged, then split."""
    for start, stop, first, last in reversed(groups(old, new)):
        kernel = _merge(kernel, start, old[start:stop])
        kernel = _split(kernel, start, new[first:last])
    return kernel


def groups(old: Shape, new: Shape) -> list[tuple[int, int, int, int]]:
    """Runs old[a:b] and new[c:d] of equal size that cannot be cut further, as (a, b, c, d)."""
    found = []
    i = j = 0
    while i < len(old) or j < len(new):
        a, c = i, j
        if i < len(old) and j < len(new) and old[i] == new[j]:
            i, j = i + 1, j + 1
        elif i < len(old) and old[i] == 1:
            i += 1
        elif j < len(new) and new[j] == 1:
            j += 1
        else:
            left, right = old[i], new[j]
            i, j = i + 1, j + 1
            while left != right:
                if left < right:
                    left, i = left * old[i], i + 1
                else:
                    right, j = right * new[j], j + 1
        found.append((a, i, c, j))
    return found


def _merge(kernel: Kernel, start: int, lengths: Shape) -> Kernel:
    """Several axes to one; different: the mean over all ways to differ."""
    first = kernel[(slice(None),) * (start + 1) + (0,) * len(lengths)]
    total = math.prod(lengths)
    sizes = {start + i: n for i, n in enumerate(lengths)}
    whole = pair_mean(kernel, sizes)
    other = first if total == 1 else (whole * total - first) / (total - 1)
    return np.stack([first, other], axis=start + 1)


def _split(kernel: Kernel, start: int, lengths: Shape) -> Kernel:
    first, other = np.take(kernel, 0, start + 1), np.take(kernel, 1, start + 1)
    ndim = kernel.ndim - 2 + len(lengths)
    axes = list(range(start, start + len(lengths)))
    shape = [2] * ndim
    shape[start : start + len(lengths)] = lengths
    return insert(first, other, axes, tuple(shape))


def transpose(kernel: Kernel, permutation: Sequence[int]) -> Kernel:
    """Axes in another order."""
    return kernel.transpose(0, *(a + 1 for a in permutation))


def align(kernel: Kernel, ndim: int) -> Kernel:
    """New axes of length 1 in front, as broadcasting does."""
    for _ in range(ndim - (kernel.ndim - 1)):
        kernel = np.stack([kernel, kernel], axis=1)
    return kernel


def narrow(kernel: Kernel, old: Shape, new: Shape) -> Kernel:
    """Sums over what broadcasting from new to old has repeated: for gradients, which are added up."""
    lead = len(old) - len(new)
    sizes = {a: n for a, n in enumerate(old) if a < lead or (new[a - lead] == 1 and n > 1)}
    whole = pair_mean(kernel, sizes, keep=True) * math.prod(sizes.values()) ** 2
    for axis in sizes:
        if axis >= lead:
            whole = np.repeat(whole, 2, axis + 1)
    return np.squeeze(whole, tuple(a + 1 for a in range(lead)))


def contract(left: Kernel, right: Kernel, equation: str, sizes: dict[str, int]) -> Kernel:
    """The kernel of the sum of products of two independent tensors, letters as in einsum.

    Letters that the output lacks are summed over: n K_l[same] K_r[same] + n (n - 1) K_l[other] K_r[other].
    """
    inputs, output = equation.split("->")
    first, second = inputs.split(",")
    summed = [c for c in dict.fromkeys(first + second) if c not in output]
    counts = [np.array([sizes[c], sizes[c] * (sizes[c] - 1)], dtype=float) for c in summed]
    letters = {c: chr(ord("a") + i) for i, c in enumerate(dict.fromkeys(first + second + output))}
    word = ["".join(letters[c] for c in part) for part in (first, second, output)]
    weights = "".join("," + letters[c] for c in summed)
    found: Kernel = np.einsum(
        f"Z{word[0]},Z{word[1]}{weights}->Z{word[2]}",
        *_parts(left, right),
        *counts,
    )
    return found


def _parts(left: Kernel, right: Kernel) -> tuple[Kernel, Kernel]:
    parts = max(len(left), len(right))
    return (
        np.broadcast_to(left, (parts, *left.shape[1:])),
        np.broadcast_to(right, (parts, *right.shape[1:])),
    )
