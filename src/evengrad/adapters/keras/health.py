"""Saturated elements and dead units of an activation's output."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evengrad.probe import ActivationHealth

# Flat ends (below, above) of bounded activations: within 1% of the range, or exactly flat.
_FLAT: dict[str, tuple[float | None, float | None]] = {
    "tanh": (-0.99, 0.99),
    "sigmoid": (0.01, 0.99),
    "hard_tanh": (-1.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "relu6": (None, 6.0),
}
_ZERO_REGION = {"relu", "relu6"}
_NOT_ELEMENTWISE = {"softmax", "log_softmax", "glu", "sparsemax"}


def health_of(
    name: str, output: npt.NDArray[Any], *, channels_first: bool
) -> ActivationHealth | None:
    """None for what does not act on each element alone."""
    if name in _NOT_ELEMENTWISE or output.size == 0:
        return None
    low, high = _FLAT.get(name, (None, None))
    saturated = 0.0
    if low is not None:
        saturated += float(np.mean(output <= low if name.startswith("hard") else output < low))
    if high is not None:
        saturated += float(
            np.mean(output > high if name in ("tanh", "sigmoid") else output >= high)
        )
    axis = 1 if channels_first and output.ndim >= 3 else output.ndim - 1
    units = output.shape[axis] if output.ndim > 1 else 1
    dead = 0.0
    if name in _ZERO_REGION:
        others = tuple(i for i in range(output.ndim) if i != axis or output.ndim == 1)
        dead = float(np.mean(~np.any(output != 0, axis=others)))
    return ActivationHealth(saturated=saturated, dead=dead, units=int(units))
