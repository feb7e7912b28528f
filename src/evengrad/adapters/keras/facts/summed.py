"""By how much a loss that is a sum is larger than the mean of what it sums up."""

from __future__ import annotations

import math
from typing import Any

import keras

from evengrad.adapters.keras.backend.differentiate import array
from evengrad.adapters.keras.facts.calls import SumHeard
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.values.fact import Fact, Where

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


def summed_by_tape(target: Any, place: Where | None) -> Fact | None:
    """Of what a tape differentiates: one loss for each sample, which the tape sums up. None of a scalar, and
    of one whose length is not known while it is traced.
    """
    shape = getattr(target, "shape", ())
    if isinstance(target, list | tuple | dict) or any(n is None for n in shape):
        return None
    elements = math.prod(int(n) for n in shape)
    if elements < 2:
        return None
    values = {"function": "tape.gradient()", "factor": float(elements), "elements": elements}
    return Fact(KIND, place, None, values)


def feels_scale(optimizer: Any) -> bool:
    """Whether its steps are larger where the loss is: the others divide by the gradient's own size."""
    return isinstance(unscaled(optimizer), keras.optimizers.SGD)


def _number(value: Any) -> float:
    """NaN where it has no value."""
    try:
        return float(array(value))
    except Exception:  # a tensor of a graph that is being made
        return math.nan
