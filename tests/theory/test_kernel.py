"""Kernel arithmetic against samples of tensors with random effects along every set of axes."""

from __future__ import annotations

import math
from itertools import chain, combinations, product

import numpy as np
import pytest

from evengrad.theory import kernel as k
from evengrad.values.spec import Array, Shape

SAMPLES = 6000


def subsets(n: int) -> list[tuple[int, ...]]:
    return list(chain.from_iterable(combinations(range(n), r) for r in range(n + 1)))


def drawn(rng: np.random.Generator, shape: Shape) -> tuple[Array, Array]:
    """(samples, *shape), and the exact kernel: the effect of a set of axes is shared by two elements
    where all of these axes agree.
    """
    x = np.zeros((SAMPLES, *shape))
    kernel = np.zeros((1,) + (2,) * len(shape))
    for axes in subsets(len(shape)):
        variance = rng.uniform(0.1, 1.0)
        size = [n if a in axes else 1 for a, n in enumerate(shape)]
        x += rng.normal(size=(SAMPLES, *size)) * math.sqrt(variance)
        for bits in product((0, 1), repeat=len(shape)):
            agree = all(bits[a] == 0 or shape[a] == 1 for a in axes)
            kernel[(0, *bits)] += variance * agree
    return x, kernel


def measured(x: Array) -> Array:
    """The kernel of samples, by plain loops over pairs of places."""
    shape = x.shape[1:]
    total = np.zeros((2,) * len(shape))
    count = np.zeros((2,) * len(shape))
    places = list(np.ndindex(*shape))
    for i in places:
        for j in places:
            bits = tuple(int(a != b) for a, b in zip(i, j, strict=True))
            total[bits] += (x[(slice(None), *i)] * x[(slice(None), *j)]).mean()
            count[bits] += 1
    found = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    for axis, n in enumerate(shape):
        if n == 1:
            found = np.repeat(np.take(found, [0], axis), 2, axis)
    return found[None]


def close(found: Array, expected: Array) -> None:
    scale = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(found, expected, atol=0.12 * scale)


@pytest.mark.parametrize("seed", range(3))
def test_the_samples_have_the_kernel(seed: int) -> None:
    x, kernel = drawn(np.random.default_rng(seed), (2, 3, 2))
    close(kernel, measured(x))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((2, 3, 2), (6, 2)),
        ((2, 3, 2), (2, 6)),
        ((2, 6), (2, 1, 6)),
        ((2, 3, 1), (2, 3)),
        ((4,), (4,)),
    ],
)
def test_merging_axes(old: Shape, new: Shape, seed: int) -> None:
    x, kernel = drawn(np.random.default_rng(seed), old)
    close(k.reshape(kernel, old, new), measured(x.reshape(SAMPLES, *new)))


def test_splitting_what_was_merged() -> None:
    """A split axis is exchangeable as a whole: any difference is a difference."""
    x, kernel = drawn(np.random.default_rng(5), (2, 4))
    found = k.reshape(kernel, (2, 4), (2, 2, 2))
    close(found, measured(x.reshape(SAMPLES, 2, 2, 2)))


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2), (0, 1, 2)])
def test_mean_over_axes(axes: tuple[int, ...]) -> None:
    shape = (3, 2, 2)
    x, kernel = drawn(np.random.default_rng(7), shape)
    found = k.pair_mean(kernel, {a: shape[a] for a in axes})
    close(found, measured(x.mean(axis=tuple(a + 1 for a in axes))))


def test_transpose() -> None:
    x, kernel = drawn(np.random.default_rng(8), (2, 3, 2))
    close(k.transpose(kernel, (2, 0, 1)), measured(x.transpose(0, 3, 1, 2)))


@pytest.mark.parametrize("new", [(3, 1), (1, 4), (4,), (1, 1)])
def test_sums_over_what_was_broadcast(new: Shape) -> None:
    x, kernel = drawn(np.random.default_rng(9), (3, 4))
    lead = 2 - len(new)
    summed = x
    for axis, n in enumerate((1,) * lead + new):
        if n == 1:
            summed = summed.sum(axis=axis + 1, keepdims=True)
    close(k.narrow(kernel, (3, 4), new), measured(summed.reshape(SAMPLES, *new)))


@pytest.mark.parametrize("equation", ["bic,bjc->bij", "bij,bjc->bic", "bc,cd->bd", "bic,jc->bij"])
def test_products_of_independent_tensors(equation: str) -> None:
    rng = np.random.default_rng(len(equation))
    sizes = {"b": 2, "i": 2, "j": 3, "c": 4, "d": 2}
    left, right = equation.split("->", maxsplit=1)[0].split(",")
    x, first = drawn(rng, tuple(sizes[c] for c in left))
    y, second = drawn(rng, tuple(sizes[c] for c in right))
    found = k.contract(first, second, equation, sizes)
    plain = np.einsum(f"z{left},z{right}->z{equation.split('->')[1]}", x, y)
    np.testing.assert_allclose(found, measured(plain), atol=0.2 * np.nanmax(found))


def test_independent_elements() -> None:
    shape = (3, 1, 4)
    x = np.random.default_rng(1).normal(0.7, 1.2, size=(SAMPLES, *shape))
    close(k.independent(shape, 1.2**2 + 0.7**2, 0.7), measured(x))
