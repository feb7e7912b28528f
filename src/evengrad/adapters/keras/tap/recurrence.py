"""Recurrent layers whose activation has no bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.tap.holders import Holders
from evengrad.values.fact import Fact

KIND = "recurrence_unbounded"
_FAR = 1e3
_BOUND = 100.0


def unbounded(variables: Sequence[Any], names: Sequence[str]) -> Fact | None:
    """Of the layers that hold these weights, by the user's names; None where each has a bound."""
    cells = Holders(variables).layer_of()
    own = [(cells[id(v)], name) for v, name in zip(variables, names, strict=True) if id(v) in cells]
    found = [(cell, name) for cell, name in own if _is_unbounded(cell)]
    if not found:
        return None
    first = found[0][0]
    values = {
        "layers": list(dict.fromkeys(name for _, name in found)),
        "kind": type(first).__name__.removesuffix("Cell"),
        "activation": str(getattr(first.activation, "__name__", "its activation")),
    }
    return Fact(KIND, None, 0, values)


def _is_unbounded(cell: Any) -> bool:
    if not hasattr(cell, "recurrent_kernel") or not callable(getattr(cell, "activation", None)):
        return False
    far = keras.ops.convert_to_tensor(np.array([_FAR], dtype="float32"))
    return bool(float(keras.ops.convert_to_numpy(cell.activation(far))[0]) > _BOUND)
