"""How alive the activations of a training are, from samples of their values at the observed steps."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from evengrad.adapters.common.health import activation_health, zero_region
from evengrad.values.run import Floats
from evengrad.values.summary import summarise

POSITIONS = 128
"""Samples, pixels or tokens, each with all its units: enough to call a unit dead that was at zero in all."""


class Activity:
    """Remembers which units were active lately, by layer."""

    def __init__(self) -> None:
        self._active: dict[str, deque[tuple[int, Any]]] = {}

    def figures(
        self, layer: str, name: str, values: Floats, ends: tuple[float, float] | None = None
    ) -> tuple[float, float, float]:
        """``LAYER_FIGURES`` of an activation's sample, (positions, units). name: the function's. ends: a hard
        tanh's own range.
        """
        health = activation_health(name, values, axis=-1, flat=ends)
        saturated = np.nan if health is None else health.saturated
        return summarise(values).rms, saturated, self._dead(layer, name, values)

    def _dead(self, layer: str, name: str, values: Floats) -> float:
        """Share of units that were zero at the last 128 positions or more, of several observed steps where one
        has fewer; NaN until there are so many, and for functions that have no zero region.
        """
        if not zero_region(name):
            return np.nan
        recent = self._active.setdefault(layer, deque())
        if recent and recent[0][1].shape != values.shape[-1:]:
            recent.clear()
        recent.append((len(values), values.any(axis=0)))
        count = sum(n for n, _ in recent)
        while count - recent[0][0] >= POSITIONS:
            count -= recent.popleft()[0]
        if count < POSITIONS:
            return np.nan
        return float(1 - np.any([active for _, active in recent], axis=0).mean())
