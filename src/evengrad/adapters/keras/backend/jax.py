"""Gradients on JAX: a zero is added at each tap and differentiated by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import ForwardRun, Gradients


def differentiate(run: ForwardRun, weights: list[Any], others: list[Any], data: Any) -> Gradients:
    """As ``differentiate.differentiate``. Compiled where the model can be."""
    shapes: dict[str, Any] = {}

    def discover(weights: Any, others: Any, data: Any) -> Any:
        def tap(key: str, tensor: Any, _fresh: bool = False) -> Any:
            shapes[key] = (tensor.shape, tensor.dtype)
            return tensor

        return run(tap, weights, others, data)[0]

    def measured(zeros: Any, weights: Any, others: Any, data: Any) -> Any:
        def tap(key: str, tensor: Any, _fresh: bool = False) -> Any:
            return tensor + zeros[key]

        return run(tap, weights, others, data)

    function = jax.value_and_grad(measured, argnums=(0, 1), has_aux=True)
    compiled = True
    try:
        jax.eval_shape(discover, weights, others, data)
    except jax.errors.JAXTypeError:  # its shape or its flow hangs on values
        compiled = False
        discover(weights, others, data)
    zeros = {key: np.zeros(shape, dtype) for key, (shape, dtype) in shapes.items()}
    function = jax.jit(function) if compiled else function
    (value, kept), (taps, found) = function(zeros, weights, others, data)
    return Gradients(value, kept, taps, list(found))


def _untapped(_key: str, tensor: Any, _fresh: bool = False) -> Any:
    return tensor


def forward(run: ForwardRun, others: list[Any], data: Any) -> Any:
    """As ``differentiate.forward``."""

    def value(weights: Any, others: Any, data: Any) -> Any:
        return run(_untapped, weights, others, data)[0]

    compiled = jax.jit(value)

    def at(weights: list[Any]) -> float:
        try:
            return float(compiled(weights, others, data))
        except jax.errors.JAXTypeError:  # its flow hangs on values
            return float(value(weights, others, data))

    return at


def slope(run: ForwardRun, others: list[Any], data: Any) -> Any:
    """As ``differentiate.slope``: compiled once."""

    def value(weights: Any, others: Any, data: Any) -> Any:
        return run(_untapped, weights, others, data)[0]

    made = jax.grad(value)
    compiled = jax.jit(made)

    def at(weights: list[Any]) -> list[Any]:
        try:
            return list(compiled(weights, others, data))
        except jax.errors.JAXTypeError:  # its flow hangs on values
            return list(made(weights, others, data))

    return at


def curvature(run: ForwardRun, weights: list[Any], others: list[Any], data: Any) -> Any:
    """As ``differentiate.curvature``: forward over reverse."""

    def value(weights: Any) -> Any:
        return run(_untapped, weights, others, data)[0]

    def product(vector: Any) -> Any:
        return jax.jvp(jax.grad(value), (weights,), (vector,))[1]

    compiled = jax.jit(product)

    def at(vector: list[Any]) -> list[Any]:
        try:
            return list(compiled(vector))
        except jax.errors.JAXTypeError:  # its flow hangs on values
            return list(product(vector))

    return at


@contextmanager
def isolated() -> Iterator[None]:
    """Random states are values on JAX: there is nothing to keep."""
    yield


@contextmanager
def seen() -> Iterator[None]:
    """JAX has no hook that would let its functions take symbolic tensors."""
    yield


precise = compat.enable_x64
