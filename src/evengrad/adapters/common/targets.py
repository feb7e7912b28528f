"""The labels of a batch, summarised, alike for every framework."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evengrad.values.probe import Targets


def targets_of(values: npt.NDArray[Any], dtype: str) -> Targets:
    """Range and kind of the labels, over the finite ones. dtype: the framework's word."""
    finite = values[np.isfinite(values)].astype(np.float64)
    return Targets(
        shape=tuple(values.shape),
        dtype=dtype,
        min=float(finite.min()) if finite.size else 0.0,
        max=float(finite.max()) if finite.size else 0.0,
        integral=bool(np.all(finite == np.round(finite))),
        non_finite=1 - finite.size / max(values.size, 1),
    )
