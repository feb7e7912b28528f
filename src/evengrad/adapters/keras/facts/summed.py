"""By how much a loss that is a sum is larger than the mean of what it sums up."""

from __future__ import annotations

import math
from typing import Any

from evengrad.adapters.keras.backend.differentiate import array
from evengrad.adapters.keras.facts.calls import SumHeard
from evengrad.values.fact import Fact

KIND = "loss_summed"


class HeardSums:
    """Those that were heard of one step."""

    def __init__(self) -> None:
        self._heard: list[SumHeard] = []

    def __call__(self, heard: SumHeard) -> None:
        """One more."""
        self._heard.append(heard)

    def of(self, loss: Any) -> Fact | None:
        """Of what is minimised: the sum that most of it is, if any; one that was divided is none."""
        total = _number(loss)
        for heard in sorted(self._heard, key=lambda h: not h.reduced):
            value = _number(heard.value)
            if heard.elements > 1 and value and 0.5 < total / value < 2:
                factor = float(heard.elements)
                values = {"function": heard.function, "factor": factor, "elements": heard.elements}
                return Fact(KIND, heard.where, None, values)
        return None


def _number(value: Any) -> float:
    """NaN where it has no value."""
    try:
        return float(array(value))
    except Exception:  # a tensor of a graph that is being made
        return math.nan
