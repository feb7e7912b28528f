"""One output's loss that drowns another's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from evengrad.adapters.keras.facts.calls import LossHeard
from evengrad.values.fact import Fact

KIND = "output_dominates"
LOST = 1e4
"""By so much another loss's gradient is larger: less than 4 digits of a float32 sum are left (a choice)."""
_LEAST = 1e-3  # of a loss that is still of any use (a choice)


def dominated(model: Any, calls: Sequence[LossHeard]) -> Fact | None:
    """Of a model with several outputs and no weights of their losses: by the losses' values, for a squared
    error's gradient grows as the root of its value. None where no loss is lost beside another.
    """
    if len(model.outputs or ()) < 2 or model.get_compile_config().get("loss_weights") is not None:
        return None
    known = [(call, value) for call in calls if (value := _value(call)) is not None]
    if len(known) < 2:
        return None
    large, small = max(known, key=_size), min(known, key=_size)
    if not _LEAST < small[1] < large[1] / LOST**2:
        return None
    values = {"large": _told(*large), "small": _told(*small), "factor": large[1] / small[1]}
    return Fact(KIND, large[0].where, 0, values)


def _value(call: LossHeard) -> float | None:
    """Its mean over the batch; None of a loss of the user's own, which is not called again."""
    if call.own or not hasattr(keras.losses, call.function):
        return None
    found = abs(
        float(keras.ops.mean(getattr(keras.losses, call.function)(call.target, call.output)))
    )
    return found if math.isfinite(found) else None


def _size(known: tuple[LossHeard, float]) -> float:
    return known[1]


def _told(call: LossHeard, value: float) -> dict[str, Any]:
    return {"function": call.function, "place": "", "value": value, "gradient": None}
