"""Which places of an axis a sliding window reads, and what that does to a profile of energies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evengrad.values.spec import Array


@dataclass(frozen=True, slots=True)
class Window:
    """A window along one axis.

    Attributes:
        size: places in and out.
        kernel: taps.
        stride: places between two outputs.
        dilation: places between two taps.
        before: padding in front.
        taps: share of the energy at each tap, sum 1.
    """

    size: tuple[int, int]
    kernel: int
    stride: int
    dilation: int
    before: int
    taps: tuple[float, ...]

    def gather(self, profile: Array) -> Array:
        """At each output, the mean over the taps of what lies there; nothing outside."""
        found = np.zeros(self.size[1])
        for place, share in enumerate(self.taps):
            index = self._index(place)
            inside = (index >= 0) & (index < self.size[0])
            found[inside] += share * profile[index[inside]]
        return found

    def scatter(self, profile: Array) -> Array:
        """The adjoint of gather."""
        found = np.zeros(self.size[0])
        for place, share in enumerate(self.taps):
            index = self._index(place)
            inside = (index >= 0) & (index < self.size[0])
            np.add.at(found, index[inside], share * profile[inside])
        return found

    def together(self, profile: Array, *, gather: bool) -> float:
        """Mean over pairs of different places of what both meet at the same tap."""
        root = np.sqrt(profile)
        n = self.size[1] if gather else self.size[0]
        total = 0.0
        for place, share in enumerate(self.taps):
            index = self._index(place)
            inside = (index >= 0) & (index < self.size[0])
            line = root[index[inside]] if gather else root[inside]
            total += share * (float(line.sum()) ** 2 - float((line**2).sum()))
        return total / (n * (n - 1)) if n > 1 else 0.0

    def _index(self, place: int) -> npt.NDArray[np.int64]:
        start = place * self.dilation - self.before
        return np.arange(self.size[1], dtype=np.int64) * self.stride + start


def even(count: int) -> tuple[float, ...]:
    """All taps alike."""
    return (1 / count,) * count
