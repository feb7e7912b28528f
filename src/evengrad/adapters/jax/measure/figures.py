"""The figures of one array as one small vector, in the compiled function, and read again on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from evengrad.adapters.common.health import HealthLimits
from evengrad.values.probe import ActivationHealth
from evengrad.values.summary import Summary

_COLUMNS = 4096


def summary(values: Any) -> Any:
    """Mean, rms and largest of the finite elements, shares of zeros and of what is not finite, (5,)."""
    wide = values.astype(jnp.float32)
    good = jnp.isfinite(wide)
    kept = jnp.where(good, wide, 0.0)
    largest = jnp.max(jnp.abs(kept))
    scale = jnp.where(largest > 0, largest, 1.0)
    count = jnp.maximum(jnp.sum(good, dtype=jnp.float32), 1.0)
    unit = kept / scale
    mean = scale * (jnp.sum(unit) / count)
    rms = scale * jnp.sqrt(jnp.sum(unit * unit) / count)
    zeros = jnp.mean((wide == 0).astype(jnp.float32))
    return jnp.stack([mean, rms, largest, zeros, jnp.mean((~good).astype(jnp.float32))])


def columns(values: Any) -> Any:
    """Root mean square of each column of a (batch, features) array; empty for other shapes."""
    if values.ndim != 2 or values.shape[1] > _COLUMNS:
        return jnp.zeros(0, jnp.float32)
    wide = values.astype(jnp.float32)
    return jnp.sqrt(jnp.mean(jnp.where(jnp.isfinite(wide), wide, 0.0) ** 2, axis=0))


def health(values: Any, limits: HealthLimits) -> Any:
    """Shares of saturated elements and of dead units, (2,); units stand in the last axis."""
    saturated = jnp.float32(0)
    if limits.high is not None:
        ends = values >= limits.high
        ends = ends if limits.low is None else ends | (values <= limits.low)
        saturated = jnp.mean(ends.astype(jnp.float32))
    alive = jnp.any(values != 0, axis=tuple(range(values.ndim - 1)))
    dead = jnp.mean((~alive).astype(jnp.float32)) if limits.zero else jnp.float32(0)
    return jnp.stack([saturated, dead])


def labels(values: Any) -> Any:
    """Least, largest, whether all are whole, share that is not finite, (4,)."""
    wide = values.astype(jnp.float32)
    good = jnp.isfinite(wide)
    kept = jnp.where(good, wide, 0.0)
    whole = jnp.all(kept == jnp.round(kept)).astype(jnp.float32)
    bad = jnp.mean((~good).astype(jnp.float32))
    return jnp.stack([jnp.min(kept), jnp.max(kept), whole, bad])


class FigureReader:
    """Takes vectors off the front of a long one."""

    def __init__(self, flat: Any) -> None:
        self._flat = np.asarray(flat, dtype=np.float64)
        self._at = 0

    def take(self, number: int) -> Any:
        """The next numbers."""
        self._at += number
        return self._flat[self._at - number : self._at]

    def summary(self, shape: Sequence[int]) -> Summary:
        """What ``summary`` made of an array of this shape."""
        mean, rms, largest, zeros, bad = self.take(5).tolist()
        return Summary(tuple(map(int, shape)), mean, rms, largest, zeros, bad)

    def health(self, units: int) -> ActivationHealth:
        """What ``health`` made."""
        saturated, dead = self.take(2).tolist()
        return ActivationHealth(saturated, dead, units)
