"""The figures of one update, in JAX' own operations, under any of its transformations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from evengrad.recording.clip import AnyArray

_SAMPLE = 4096


class InGraph:
    """``clip.Namespace`` in jax.numpy."""

    sqrt = staticmethod(jnp.sqrt)
    exp = staticmethod(jnp.exp)
    log = staticmethod(jnp.log)
    abs = staticmethod(jnp.abs)
    sum = staticmethod(jnp.sum)
    sort = staticmethod(jnp.sort)
    minimum = staticmethod(jnp.minimum)
    maximum = staticmethod(jnp.maximum)
    isfinite = staticmethod(jnp.isfinite)

    @staticmethod
    def where(condition: AnyArray, x: AnyArray, y: AnyArray) -> AnyArray:
        """One or the other."""
        return jnp.where(condition, x, y)

    @staticmethod
    def arange(n: int) -> AnyArray:
        """0 to n - 1, as floats."""
        return jnp.arange(n, dtype=jnp.float32)

    @staticmethod
    def take(x: AnyArray, index: AnyArray) -> AnyArray:
        """The element at a whole number that is a float."""
        return jnp.take(x, index.astype(jnp.int32))


@jax.jit
def norms(gradients: Sequence[Any]) -> tuple[Any, Any]:
    """L2 norms, and counts of elements that are not finite, both (gradients,), as float32. Where squares
    overflow (1e19) or vanish (1e-24), all are read once more, scaled by their largest values.
    """
    squares = jnp.stack([jnp.sum(jnp.square(_real(g))) for g in gradients])
    fine = jnp.isfinite(squares) & (squares > 0)

    def again() -> tuple[Any, Any]:
        bad = jnp.stack([jnp.sum(~jnp.isfinite(_real(g)), dtype=jnp.float32) for g in gradients])
        return jnp.stack([_scaled(g) for g in gradients]), bad

    return jax.lax.cond(jnp.all(fine), lambda: (jnp.sqrt(squares), jnp.zeros_like(squares)), again)


@jax.jit
def more(gradients: Sequence[Any]) -> Any:
    """Largest absolute values, and shares of zeros in samples of at most 8,192 elements, (2, gradients)."""
    largest, zeros = [], []
    for gradient in gradients:
        values = jnp.reshape(_real(gradient), (-1,))
        largest.append(jnp.max(jnp.abs(values)))
        sample = values[:: max(1, int(values.shape[0]) // _SAMPLE)]
        zeros.append(jnp.mean((sample == 0).astype(jnp.float32)))
    return jnp.stack([jnp.stack(largest), jnp.stack(zeros)])


@jax.jit
def rms(values: Sequence[Any]) -> Any:
    """Root mean squares, (values,)."""
    return jnp.stack([jnp.sqrt(jnp.mean(jnp.square(_real(v)))) for v in values])


@jax.jit
def finite(values: Sequence[Any]) -> Any:
    """Whether all elements of all are."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(v)) for v in values]))


def _real(values: Any) -> Any:
    values = jnp.abs(values) if jnp.issubdtype(values.dtype, jnp.complexfloating) else values
    return values.astype(jnp.float32)


def _scaled(gradient: Any) -> Any:
    values = _real(gradient)
    largest = jnp.max(jnp.abs(values))
    safe = jnp.where(largest > 0, largest, jnp.ones_like(largest))
    return safe * jnp.sqrt(jnp.sum(jnp.square(values / safe)))
