"""What a forecast knows of a tensor, forwards (Field) and of the gradient there (Signal).

Parts: along one axis (after a concatenation) neighbouring stretches may have moments of their own.
Profile: along a spatial axis the second moment may depend on the place (zero padding); a vector of mean 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from evengrad.theory.gaussian import NODES, dual, expect
from evengrad.theory.kernel import Kernel
from evengrad.values.spec import Array, Shape

Profile = dict[int, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """A tensor taken for Gaussian, which others are elementwise functions of.

    Attributes:
        mean: of each part, (parts,).
        sd: standard deviation of each part, (parts,).
        rho: its correlations, shaped as a kernel.
        profile: axis -> energy by place.
    """

    mean: Array
    sd: Array
    rho: Array
    profile: Profile


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A tensor, as its law over seeds.

    Attributes:
        shape: batch included.
        kernel: second moments, (parts, 2, ..., 2): by axis, at the same place or at another.
        mean: of each part, (parts,).
        sizes: length of each part along ``axis``, (parts,).
        axis: along which the parts lie; None for one part.
        profile: axis -> energy by place.
        anchor: the Gaussian tensor that this is a function of.
        values: what it is, as a function of the anchor at each quantile, (parts, nodes).
        unrest: Var of the mean square over the features of one place, as a part of what independent Gaussians
            have; 0 behind a normalisation of each place.
    """

    shape: Shape
    kernel: Kernel
    mean: Array
    sizes: Array
    axis: int | None
    profile: Profile
    anchor: Anchor
    values: Array
    unrest: float = 1.0

    @property
    def square(self) -> float:
        """E[x^2] over all parts."""
        first = self.kernel.reshape(len(self.kernel), -1)[:, 0]
        return float(first @ self.sizes / self.sizes.sum())

    @property
    def average(self) -> float:
        """E[x] over all parts."""
        return float(self.mean @ self.sizes / self.sizes.sum())


def gaussian(
    shape: Shape,
    kernel: Kernel,
    mean: Array,
    *,
    sizes: Array | None = None,
    axis: int | None = None,
    profile: Profile | None = None,
) -> Field:
    """A tensor that is its own anchor."""
    first = kernel.reshape(len(kernel), -1)[:, 0]
    variance = np.maximum(first - mean**2, 0.0)
    wide = (len(kernel),) + (1,) * (kernel.ndim - 1)
    centred = kernel - (mean**2).reshape(wide)
    safe = np.where(variance > 1e-12 * np.maximum(first, 1e-300), variance, np.inf)
    rho = np.clip(centred / safe.reshape(wide), -1.0, 1.0)
    profile = profile or {}
    anchor = Anchor(mean, np.sqrt(variance), rho, profile)
    values = mean[:, None] + anchor.sd[:, None] * NODES
    sizes = np.ones(1) if sizes is None else sizes
    return Field(shape, kernel, mean, sizes, axis, profile, anchor, values)


def shaped(like: Field, values: Array) -> Field:
    """The same moments with another marginal law: values, its quantiles at the nodes, by part.

    The correlations of the Gaussian behind it are those that give the kernel.
    """
    grid = np.linspace(-1.0, 1.0, 81)
    rho = np.empty_like(like.kernel)
    for part, row in enumerate(values):
        reached = np.maximum.accumulate(dual(row[None], grid[None])[0])
        rho[part] = np.interp(like.kernel[part], reached, grid)
    anchor = Anchor(like.anchor.mean, like.anchor.sd, rho, like.profile)
    return replace(like, anchor=anchor, values=values)


def is_normal(field: Field) -> bool:
    """Whether it is its own anchor: a Gaussian."""
    own = field.anchor
    return bool(np.allclose(field.values, own.mean[:, None] + own.sd[:, None] * NODES, atol=0.0))


def part_of(source: Field, part: Field) -> Field:
    """Some places of a tensor: their moments are given, their law is that of all."""
    if is_normal(source) or len(source.values) != len(part.values):
        return part
    return shaped(part, source.values)


def function_of(source: Field, values: Array) -> Field:
    """A tensor that is an elementwise function of the source's anchor."""
    anchor = source.anchor
    return replace(
        source,
        kernel=dual(values, anchor.rho),
        mean=expect(values),
        values=values,
        unrest=1.0,
        profile={a: _reweighted(values, p) for a, p in anchor.profile.items()},
    )


def _reweighted(values: Array, profile: Array) -> Array:
    """Profile of the second moment behind a function, its argument's variance being uneven."""
    found = energies(values, profile)
    mean = found.mean()
    return found / mean if mean > 0 else np.ones_like(found)


def energies(values: Array, profile: Array) -> Array:
    """E[f(z sqrt(p))^2] for each p of a profile; all parts together."""
    places, back = np.unique(np.round(profile, 3), return_inverse=True)
    total = np.zeros(len(places))
    for row in values:
        scaled = [np.interp(NODES * np.sqrt(max(p, 0.0)), NODES, row) for p in places]
        total += expect(np.array(scaled) ** 2)
    return total[back]


def united(source: Field) -> Field:
    """All parts in one, by their sizes: for operations that mix them."""
    if len(source.kernel) == 1:
        return replace(source, axis=None) if source.axis is not None else source
    share = source.sizes / source.sizes.sum()
    kernel = np.tensordot(share, source.kernel, axes=1)[None]
    axis = source.axis
    assert axis is not None
    n = int(source.sizes.sum())
    index: tuple[Any, ...] = (slice(None),) * axis
    within = np.tensordot(
        source.sizes * np.maximum(source.sizes - 1, 0),
        source.kernel[(slice(None), *index, 1)],
        axes=1,
    )
    mean = float(source.mean @ share)
    pairs = (source.sizes @ source.mean) ** 2 - source.sizes**2 @ source.mean**2
    kernel[(0, *index, 1)] = (within + pairs) / max(n * (n - 1), 1)
    return gaussian(source.shape, kernel, np.array([mean]), profile=source.profile)


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """A gradient on its way back: ``kernel`` where it came from, times an elementwise function of the
    anchor of the tensor where it is now.

    Attributes:
        kernel: second moments, (parts or 1, 2, ..., 2).
        slope: that function at each quantile, (parts or 1, nodes).
        profile: axis -> energy by place.
        spread: Var log energy over seeds, so far.
        overlap: E[cos^2] of the angle between the gradients at two places beyond what the kernel says: 1 /
            dimension at the outputs.
        lean: of several signals made one, E[delta^2 | the tensor's value] at each quantile, of mean 1: which
            values the gradient falls on.
        depth: weight matrices passed, the mean over paths.
        parts: the signals that were made one.
    """

    kernel: Kernel
    slope: Array
    profile: Profile = field(default_factory=dict)
    spread: float = 0.0
    overlap: float = 0.0
    lean: Array | None = None
    depth: float = 0.0
    parts: tuple[Signal, ...] = ()


Fields = Sequence[Field]
Signals = Sequence[Signal | None]

ONES: Array = np.ones((1, len(NODES)))


def energy(signal: Signal, at: Field) -> float:
    """E[delta^2] per element of a signal at a tensor."""
    first = signal.kernel.reshape(len(signal.kernel), -1)[:, 0] * expect(signal.slope**2)
    if len(first) == 1:
        return float(first[0])
    return float(first @ at.sizes / at.sizes.sum())


def total(signals: list[Signal], at: Field) -> Signal:
    """All signals at a tensor as one, the sources taken for independent."""
    parts = len(at.kernel)
    kernel = np.zeros((parts, *at.kernel.shape[1:]))
    profile: Profile = {}
    lean: Array | None = None
    shares = np.array([energy(s, at) for s in signals])
    whole = shares.sum()
    weight = shares / whole if whole > 0 else np.full(len(signals), 1 / len(signals))
    for share, signal in zip(weight, signals, strict=True):
        plain = signal.slope is ONES
        here = signal.kernel
        if not plain:
            slope = np.broadcast_to(signal.slope, (parts, len(NODES)))
            here = here * dual(slope, at.anchor.rho)
            level = expect(slope**2)[:, None]
            leaning = slope**2 / np.where(level > 0, level, 1.0) - 1
            lean = (1.0 if lean is None else lean) + share * leaning
        kernel = kernel + here
        for a, n in enumerate(at.shape):
            if any(a in s.profile for s in signals):
                profile[a] = profile.get(a, np.zeros(n)) + share * signal.profile.get(a, np.ones(n))
    base = min(s.spread for s in signals)
    spread = base + sum(w**2 * (s.spread - base) for w, s in zip(weight, signals, strict=True))
    overlap = float(sum(w * s.overlap for w, s in zip(weight, signals, strict=True)))
    depth = float(sum(w * s.depth for w, s in zip(weight, signals, strict=True)))
    return Signal(kernel, ONES, profile, float(spread), overlap, lean, depth, parts=tuple(signals))
