"""How the classes are mixed in a training's batches."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

_BATCHES, _ROWS = 128, 8
_FEWEST = 10
_LEAST = 3  # classes: batches of one of two are the rule in adversarial trainings
_MANY = 4  # classes: then a batch of two of them is sorted, too


class BatchClasses:
    """Of its first batches with eight labels or more."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._most: Counter[float] = Counter()
        self._known: set[float] = set()

    def add(self, labels: Any) -> None:
        """Of one batch."""
        if labels.size < _ROWS or len(self._sizes) >= _BATCHES:
            return
        found, counts = np.unique(labels, return_counts=True)
        self._sizes.append(len(found))
        self._most[float(found[counts.argmax()])] += 1
        self._known.update(float(one) for one in found[:1000])

    def values(self) -> dict[str, Any]:
        """What they hold: "classes", and "sorted_share" of the batches with one class, or of four or more with
        two. Not where one class leads nearly all batches: that one is frequent.
        """
        known = len(self._known)
        if len(self._sizes) < _FEWEST or known < _LEAST:
            return {}
        few = 2 if known >= _MANY else 1
        leading = [
            count for count in self._most.values() if count >= 0.1 * len(self._sizes) / known
        ]
        if len(leading) < known / 2 or max(leading) > 0.8 * len(self._sizes):
            return {}
        share = float(np.mean([size <= few for size in self._sizes]))
        return {"classes": known, "sorted_share": share}
