"""Gradients on TensorFlow: the tape watches the tensors themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import ForwardRun, Gradients
from evengrad.adapters.keras.backend.native import call_symbolic, has_symbolic


def differentiate(run: ForwardRun, weights: list[Any], others: list[Any], data: Any) -> Gradients:
    """As ``differentiate.differentiate``."""
    taps: dict[str, Any] = {}
    with tf.GradientTape() as tape:
        leaves = [tf.identity(w) for w in weights]
        tape.watch(leaves)

        def tap(key: str, tensor: Any, fresh: bool = False) -> Any:
            tensor = tf.identity(tensor) if fresh else tensor
            tape.watch(tensor)
            taps[key] = tensor
            return tensor

        value, kept = run(tap, leaves, others, data)
    found = tape.gradient(value, [*taps.values(), *leaves])
    dense = [None if g is None else tf.convert_to_tensor(g) for g in found]
    return Gradients(value, kept, dict(zip(taps, dense, strict=False)), dense[len(taps) :])


_ZERO = tf.UnconnectedGradients.ZERO


def _untapped(_key: str, tensor: Any, _fresh: bool = False) -> Any:
    return tensor


def forward(run: ForwardRun, others: list[Any], data: Any) -> Any:
    """As ``differentiate.forward``."""
    return lambda weights: float(run(_untapped, weights, others, data)[0])


def curvature(run: ForwardRun, weights: list[Any], others: list[Any], data: Any) -> Any:
    """As ``differentiate.curvature``: the gradient differentiated again, the forward pass taken once."""
    leaves = [tf.convert_to_tensor(w) for w in weights]
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(leaves)
        with tf.GradientTape() as inner:
            inner.watch(leaves)
            value, _ = run(_untapped, leaves, others, data)
        found = inner.gradient(value, leaves, unconnected_gradients=_ZERO)
        first = [tf.convert_to_tensor(g) for g in found]

    def product(vector: list[Any]) -> list[Any]:
        return [
            tf.convert_to_tensor(h)
            for h in outer.gradient(first, leaves, list(vector), unconnected_gradients=_ZERO)
        ]

    return product


@contextmanager
def isolated() -> Iterator[None]:
    """Keras draws stateless random numbers on TensorFlow: there is nothing to keep."""
    yield


_Base: Any = compat.dispatcher()


class _Dispatcher(_Base or object):  # type: ignore[misc]
    """Asked by TensorFlow when one of its functions cannot read an argument."""

    def __init__(self) -> None:
        self.active = False

    def handle(self, op: Any, args: Any, kwargs: Any) -> Any:
        if not self.active or not has_symbolic(args, kwargs):
            return self.NOT_SUPPORTED
        self.active = False  # what it calls in turn is its own affair
        try:
            return call_symbolic(op, op.__name__, args, kwargs)
        finally:
            self.active = True


_DISPATCHER = _Dispatcher()
if _Base is not None:
    _DISPATCHER.register()


@contextmanager
def seen() -> Iterator[None]:
    """While it lasts, TensorFlow's functions take symbolic tensors."""
    _DISPATCHER.active = True
    try:
        yield
    finally:
        _DISPATCHER.active = False
