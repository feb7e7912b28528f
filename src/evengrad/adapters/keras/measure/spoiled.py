"""Updates that are not finite though the gradients are: whose, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.measure.update import unscaled
from evengrad.values.fact import Fact, Where
from evengrad.values.probe import Weight


def fragile(optimizer: Any, variables: Sequence[Any]) -> bool:
    """Whether finite gradients can give an update that is not: weights in float16, or an epsilon that is 0 in
    the weights' precision.
    """
    kinds = {keras.backend.standardize_dtype(v.dtype) for v in variables}
    return any(kind == "float16" or _vanishes(optimizer, kind) for kind in kinds)


def update_fact(
    optimizer: Any,
    dtype: str,
    names: Sequence[str],
    of: int,
    step: int,
    guarded: bool | None,
    place: Where | None,
) -> tuple[Fact, str]:
    """What was seen, for the rule and in words. names: of the weights that it would spoil, empty where they
    are not known. of: how many there are. guarded: None where the update was made on a copy.
    """
    inner = unscaled(optimizer)
    values = {
        "optimizer": type(inner).__name__,
        "names": list(names[:8]),
        "tensors": len(names),
        "of": of,
        "dtype": dtype,
        "eps": getattr(inner, "epsilon", None),
        "vanishes": _vanishes(inner, dtype),
        "guarded": guarded,
    }
    why = f": its epsilon {values['eps']:g} is 0 in {dtype}" if values["vanishes"] else ""
    what = f"the gradients are finite and the update that {values['optimizer']} makes of them is not{why}"
    return Fact("update_not_finite", place, step, values), what


def coming_fact(
    optimizer: Any, variables: Sequence[Any], weights: Sequence[Weight], place: Where | None
) -> Fact | None:
    """Of a probe's weights, where the coming update would spoil some and no gradient is to blame."""
    known = [w for w in weights if w.gradient is not None and w.update is not None]
    bad = [w.name for w in known if w.update is not None and not math.isfinite(w.update)]
    if not bad or any(w.gradient is not None and w.gradient.non_finite for w in known):
        return None
    dtype = keras.backend.standardize_dtype(variables[0].dtype)
    return update_fact(optimizer, dtype, bad, len(known), 0, None, place)[0]


def _vanishes(optimizer: Any, dtype: str) -> bool:
    epsilon = getattr(unscaled(optimizer), "epsilon", None)
    if not isinstance(epsilon, float) or dtype not in ("float16", "float32", "float64"):
        return False
    return float(np.asarray(epsilon, dtype)) == 0.0
