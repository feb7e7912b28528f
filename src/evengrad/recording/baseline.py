"""The constant baseline: what a network loses that has learnt only the best constant answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_ENOUGH = 20_000
_EQUAL = 1e-3
"""By so much a ratio may vary, relative to itself: the baseline is off by no more."""
_ALIKE = 0.8
"""Of the whole's baseline the two halves' own ones must make so much, on average."""
_FEWEST = 8
"""Backward passes that a ratio other than 1 must hold for."""


class Baseline:
    """The constant baseline of what a training backpropagates.

    It is known of some loss functions, by their targets. What is backpropagated need not be such a function's
    mean: there are further terms, penalties, weights, accumulation. The baseline counts only where it was the
    same multiple of the functions' own mean in every backward pass (1, or 1/8 under accumulation over 8): then
    the loss lies below the multiple of the baseline where the functions lie below theirs, and nowhere else.
    """

    def __init__(self) -> None:
        self._samples: dict[int, _Sample] = {}
        self._terms: int | None = None
        self._ratios: list[float] = []
        self._differs = False

    def targets(self, kind: str, values: Any, place: int = 0) -> None:
        """Take the targets of a batch, or of all.

        Args:
            kind: "crossentropy", "binary_crossentropy", "mse", "mae"; of any other nothing is known.
            values: (samples, ...).
            place: of the loss function among those of one backward pass.
        """
        self._samples.setdefault(place, _Sample(kind)).add(kind, values)

    def backpropagated(self, loss: float, own: Sequence[float]) -> None:
        """Take a backward pass.

        Args:
            loss: what was backpropagated.
            own: the mean of each loss function in it; empty where something else made it.
        """
        self._terms = len(own) if self._terms is None else self._terms
        if not own or len(own) != self._terms:
            self._differs = True
            return
        mean = sum(own) / len(own)
        if not math.isfinite(loss) or not math.isfinite(mean) or loss == mean == 0:
            return
        if mean == 0 or loss / mean <= 0:
            self._differs = True
            return
        self._ratios.append(loss / mean)

    @property
    def ratio(self) -> float | None:
        """What was backpropagated as a multiple of the loss functions' mean; None where there is none."""
        if self._differs or not self._ratios:
            return None
        low, high = min(self._ratios), max(self._ratios)
        if high - low > _EQUAL * low:
            return None
        ratio = float(np.median(self._ratios))
        if abs(ratio - 1) <= _EQUAL:
            return 1.0
        return ratio if len(self._ratios) >= _FEWEST else None

    @property
    def steady(self) -> bool:
        """Whether the later targets are like the earlier ones; those that come sorted are not, and what is seen
        of them first says nothing of the rest.
        """
        return all(sample.steady for sample in self._samples.values())

    @property
    def loss(self) -> float | None:
        """The baseline of what was backpropagated, in nats or squared units; None where it is not known."""
        ratio = self.ratio
        known = [self._samples[i].loss for i in range(self._terms or 0) if i in self._samples]
        found = [loss for loss in known if loss is not None]
        if ratio is None or not found or len(found) != self._terms:
            return None
        return ratio * sum(found) / len(found)


class _Sample:
    """Targets of one loss function, and the loss of the best constant answer to them.

    Cross-entropy: the entropy of the classes' shares (for soft labels of their mean). Binary: the same for each
    output, on average. Squared error: the variance, on average over outputs; absolute error: the mean distance
    from the median. Examples that are not finite do not count.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._values: list[Any] = []
        self._count = 0

    def add(self, kind: str, values: Any) -> None:
        if kind != self._kind:
            self._kind = "other"
        if self._count >= _ENOUGH:
            return
        found = np.asarray(values)
        self._values.append(found[:_ENOUGH] if found.ndim else found.reshape(1))
        self._count += max(len(self._values[-1]), 1)

    @property
    def loss(self) -> float | None:
        return self._of(self._values)

    @property
    def steady(self) -> bool:
        half = len(self._values) // 2
        parts = [self._of(self._values[:half]), self._of(self._values[half:])] if half >= 2 else []
        whole, known = self.loss, [part for part in parts if part is not None]
        return whole is None or not known or sum(known) / len(known) >= _ALIKE * whole

    def _of(self, batches: list[Any]) -> float | None:
        if not batches or self._kind not in _BY_KIND:
            return None
        try:
            values = np.concatenate(batches).astype(np.float64)
            values = values[np.isfinite(values.reshape(len(values), -1)).all(1)]
            found = float(_BY_KIND[self._kind](values)) if len(values) else math.nan
        except (ValueError, TypeError):
            return None
        return found if math.isfinite(found) else None


def _categorical(values: Any) -> float:
    if values.ndim >= 2 and values.shape[-1] > 1 and np.allclose(values.sum(-1), 1, atol=1e-3):
        shares = values.reshape(-1, values.shape[-1]).mean(0)
    else:
        labels = values.reshape(-1)
        labels = labels[labels >= 0]
        if not len(labels) or not np.array_equal(labels, np.round(labels)):
            return math.nan
        shares = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-np.sum(shares * np.log(np.where(shares > 0, shares, 1.0))))


def _binary(values: Any) -> float:
    shares = np.clip(values.reshape(len(values), -1).mean(0), 1e-12, 1 - 1e-12)
    return float(np.mean(-shares * np.log(shares) - (1 - shares) * np.log(1 - shares)))


def _squared(values: Any) -> float:
    return float(values.reshape(len(values), -1).var(0).mean())


def _absolute(values: Any) -> float:
    rows = values.reshape(len(values), -1)
    return float(np.abs(rows - np.median(rows, 0)).mean())


_BY_KIND = {
    "crossentropy": _categorical,
    "binary_crossentropy": _binary,
    "mse": _squared,
    "mae": _absolute,
}
