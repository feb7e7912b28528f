"""What a training is to learn, as far as its first steps show it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from evengrad.recording.baseline import Baseline
from evengrad.recording.batch_classes import BatchClasses

_PASSES, _LABELS = 128, 20_000
"""Backward passes and labels that are looked at; nothing after either."""
_FEWEST = 32
"""Labels below which nothing is said of what a constant answer would lose."""


class Lesson:
    """Of one optimizer, fed by its adapter in the first steps; ``values`` is what the run file keeps.

    Attributes:
        passes: backward passes so far.
        inputs: whether the inputs were seen.
    """

    def __init__(self) -> None:
        self.passes = 0
        self.inputs = False
        self._baseline = Baseline()
        self._labels = 0
        self._kinds: list[str] = []
        self._low, self._high = math.inf, -math.inf
        self._layer = ""
        self._per_step: set[float] = set()
        self._sizes: list[tuple[float, float]] = []
        self._mixed = BatchClasses()

    @property
    def full(self) -> bool:
        """Whether enough was seen."""
        return self.passes >= _PASSES or self._labels >= _LABELS

    def targets(self, kind: str, values: Any, place: int = 0) -> None:
        """As ``Baseline.targets`` takes them."""
        if kind not in self._kinds:
            self._kinds.append(kind)
        found = np.asarray(values)
        self._labels += len(found) if found.ndim else 1
        self._baseline.targets(kind, found, place)
        finite = found[np.isfinite(found)] if found.dtype.kind in "fiub" else found[:0]
        if finite.size:
            self._low = min(self._low, float(finite.min()))
            self._high = max(self._high, float(finite.max()))

    def classes(self, labels: Any) -> None:
        """The labels of one batch, one of each sample."""
        self._mixed.add(np.asarray(labels))

    def backpropagated(self, loss: float, own: Sequence[float]) -> None:
        """As ``Baseline.backpropagated`` takes it."""
        self.passes += 1
        self._baseline.backpropagated(loss, own)

    def stepped(self, losses: float) -> None:
        """A step was made on so many losses, which the run adds up."""
        self._per_step.add(losses)

    def given(self, layer: str, rms: float, largest: float) -> None:
        """What the first trained layer was given in one pass: root mean square, and the largest value. NaN:
        nothing that has a size, such as indices.
        """
        self.inputs = True
        self._sizes.append((rms, largest))
        self._layer = layer

    def values(self) -> dict[str, Any]:
        """By name.

        Returns:
            "objective", the kinds of its loss functions; "baseline", the loss of the best constant answer, None
            where it is not known; "target_low" and "target_high"; "input_layer", "input_rms" and
            "input_largest"; "classes", and "sorted_share" of the batches with one or two of them. What was not
            seen is not in it.
        """
        found: dict[str, Any] = {}
        sizes = [pair for pair in self._sizes if math.isfinite(pair[0])]
        if sizes:
            rms = math.sqrt(sum(one**2 for one, _ in sizes) / len(sizes))
            largest = max(one for _, one in sizes)
            found |= {"input_layer": self._layer, "input_rms": rms, "input_largest": largest}
        if self._kinds:
            enough = self._labels >= _FEWEST and self._baseline.steady
            known = self._baseline.loss if enough and len(self._per_step) < 2 else None
            if known is not None and self._per_step:
                known *= next(iter(self._per_step))
            found |= {"objective": list(self._kinds), "baseline": known}
        found |= self._mixed.values()
        if self._low <= self._high:
            found |= {"target_low": self._low, "target_high": self._high}
        return found
