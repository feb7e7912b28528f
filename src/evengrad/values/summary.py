"""The figures of one tensor, accumulated so that neither 1e19 nor 1e-24 overflows or vanishes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of one tensor.

    Attributes:
        shape: of the tensor.
        mean: of the finite elements.
        rms: root mean square of the finite elements.
        max: the largest absolute value of the finite elements.
        zeros: share of all elements, 0 to 1.
        non_finite: share of all elements that are NaN or inf, 0 to 1.
    """

    shape: tuple[int, ...]
    mean: float
    rms: float
    max: float
    zeros: float
    non_finite: float

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def scaled(self, factor: float) -> Summary:
        """Figures of the tensor times a positive factor."""
        if factor == 1.0:
            return self
        return replace(self, mean=self.mean * factor, rms=self.rms * factor, max=self.max * factor)

    @property
    def norm(self) -> float:
        """Euclidean norm; NaN where any element is not finite."""
        return math.nan if self.non_finite else self.rms * math.sqrt(self.size)

    @property
    def std(self) -> float:
        """Standard deviation over the finite elements."""
        return math.sqrt(max(self.rms**2 - self.mean**2, 0.0))


def summarise(values: npt.NDArray[Any]) -> Summary:
    """Read an array once, in chunks that stay in cache, accumulating in float64.

    float64 holds the squares of every float32 value (1e-90 to 1e77), so the sum of squares of
    gradients of 1e19 or 1e-24 is exact where a float32 sum gives inf or 0.
    """
    flat = values.reshape(-1)
    total = squares = largest = 0.0
    zeros = bad = 0
    buffer = np.empty(min(flat.size, _CHUNK))
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        wide = buffer[: chunk.size]
        np.copyto(wide, chunk)
        chunk_total, chunk_squares = _sums(wide)
        if not math.isfinite(chunk_squares):
            finite = np.isfinite(chunk)
            bad += chunk.size - int(np.count_nonzero(finite))
            chunk = chunk[finite]
            chunk_total, chunk_squares = _sums(chunk.astype(np.float64))
        if chunk.size:
            total += chunk_total
            squares += chunk_squares
            largest = max(largest, float(chunk.max()), -float(chunk.min()))
            zeros += int(np.count_nonzero(chunk == 0))
    size, good = flat.size, flat.size - bad
    return Summary(
        shape=tuple(int(n) for n in values.shape),
        mean=total / good if good else 0.0,
        rms=math.sqrt(squares / good) if good else 0.0,
        max=largest,
        zeros=zeros / size if size else 0.0,
        non_finite=bad / size if size else 0.0,
    )


def rms_of_difference(after: npt.NDArray[Any], before: npt.NDArray[Any]) -> float:
    """Root mean square of after - before, of one shape; no array of that size is made."""
    new, old, squares = after.reshape(-1), before.reshape(-1), 0.0
    for start in range(0, new.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        squares += _sums(new[part].astype(np.float64) - old[part])[1]
    return math.sqrt(squares / new.size) if new.size else 0.0


def _sums(wide: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Sum and sum of squares, of which the array is overwritten. (Not by a BLAS dot: its threads fight
    the framework's own, 80 times slower on two cores.)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(wide.sum())
        np.square(wide, out=wide)
        return total, float(wide.sum())


def together(parts: Sequence[Summary]) -> Summary:
    """Several tensors as one, with the shape of the first."""
    if len(parts) == 1:
        return parts[0]
    good = [part.size * (1 - part.non_finite) for part in parts]
    size, count = sum(part.size for part in parts), sum(good) or 1.0
    norm = root_sum_squares(p.rms * math.sqrt(n) for p, n in zip(parts, good, strict=True))
    return Summary(
        shape=parts[0].shape,
        mean=sum(p.mean * n for p, n in zip(parts, good, strict=True)) / count,
        rms=norm / math.sqrt(count),
        max=max(p.max for p in parts),
        zeros=sum(p.zeros * p.size for p in parts) / max(size, 1),
        non_finite=sum(p.non_finite * p.size for p in parts) / max(size, 1),
    )


def nothing(shape: tuple[int, ...]) -> Summary:
    """Figures of a gradient that never came: all zero."""
    return Summary(shape, 0.0, 0.0, 0.0, 1.0, 0.0)


def column_rms(values: npt.NDArray[Any]) -> tuple[float, ...]:
    """Root mean square of each column of a (batch, features) array; empty for other shapes."""
    if values.ndim != 2:
        return ()
    wide = values.astype(np.float64)
    wide[~np.isfinite(wide)] = 0.0
    return tuple(float(c) for c in np.sqrt(np.mean(wide**2, axis=0)))


def root_sum_squares(norms: Iterable[float]) -> float:
    """Norm of several tensors taken together, from their norms; NaN if one of them is."""
    return math.hypot(*norms)


def rms_or_nan(figures: Summary) -> float:
    """The rms of a tensor that is finite throughout; else NaN."""
    return math.nan if figures.non_finite else figures.rms
