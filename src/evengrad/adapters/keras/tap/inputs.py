"""How large what a model is evaluated on is, beside what it was trained on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from evengrad.adapters.common.scales import ROWS, InputScale, far_apart
from evengrad.values.fact import Fact, Where

log = logging.getLogger("evengrad")
_MOST = 4096  # samples that are looked at


@dataclass(frozen=True, slots=True, eq=False)
class _GivenArray:
    """What is known of one array. whole: class numbers or ids, of which a mean says nothing."""

    shape: tuple[int, ...]
    whole: bool
    scale: InputScale


class FitInputs:
    """Of each model's last ``fit``; arrays alone, for what is generated is not read twice."""

    def __init__(self) -> None:
        self._models: list[tuple[Any, _GivenArray | None]] = []

    def trained(self, model: Any, given: dict[str, Any], place: Where | None) -> tuple[Fact, ...]:
        """The arguments of a fit: what it is validated on, if that is of another scale."""
        self._models = [(m, known) for m, known in self._models if m is not model]
        x, y, other = given["x"], given["y"], given["validation_data"]
        if y is None or y is x:  # an autoencoder may be shown what it is not to know
            return ()
        self._models.append((model, _known(x)))
        return self.evaluated(model, other[0], place) if isinstance(other, tuple | list) else ()

    def evaluated(self, model: Any, x: Any, place: Where | None) -> tuple[Fact, ...]:
        """What ``evaluate`` or ``predict`` is given."""
        trained = next((known for m, known in self._models if m is model), None)
        seen = None if trained is None else _known(x)
        if trained is None or seen is None or trained.shape != seen.shape:
            return ()
        if trained.whole and seen.whole:
            return ()
        values = far_apart(trained.scale, seen.scale)
        return () if values is None else (Fact("inputs_apart", place, None, values),)


def _known(x: Any) -> _GivenArray | None:
    """Of an array of numbers that lies there, of samples enough; None of any other data."""
    try:
        x = _array(x)
    except Exception as error:  # data of another kind
        log.info("the inputs could not be compared: %s", error)
        return None
    if x is None or len(x) < ROWS:
        return None
    part = x[:: max(len(x) // _MOST, 1)].astype(np.float64)
    scale = InputScale(len(x), float(part.mean()), float(part.std()))
    return _GivenArray(x.shape[1:], x.dtype.kind in "iu" and x.dtype != np.uint8, scale)


def _array(x: Any) -> Any:
    if not isinstance(x, np.ndarray):
        if not (hasattr(x, "to_numpy") or keras.ops.is_tensor(x)):
            return None
        x = x.to_numpy() if hasattr(x, "to_numpy") else keras.ops.convert_to_numpy(x)
    return x if x.ndim >= 2 and x.dtype.kind in "fiu" else None
