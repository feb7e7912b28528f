"""How large the values are that a model is given, in training and in evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

ROWS = 64
"""Samples of each, below which nothing is said."""
_APART = 4.0
"""Standard deviations of the training's between the means, or the factor between the standard deviations."""


@dataclass(frozen=True, slots=True)
class InputScale:
    """rows: samples. mean, std: of all of their values."""

    rows: int
    mean: float
    std: float


def far_apart(trained: InputScale, evaluated: InputScale) -> dict[str, Any] | None:
    """For a fact "inputs_apart": both, where they are far from each other; else None."""
    wide, seen = trained.std, evaluated.std
    if min(trained.rows, evaluated.rows) < ROWS or not (
        0 < wide < math.inf and 0 < seen < math.inf
    ):
        return None
    shift = abs(evaluated.mean - trained.mean) / wide
    if max(shift, seen / wide, wide / seen) <= _APART:
        return None
    return {
        "mean": trained.mean,
        "std": wide,
        "evaluated_mean": evaluated.mean,
        "evaluated_std": seen,
    }
