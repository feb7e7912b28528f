"""Other activations in a live model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras.layers import Layer

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.change.model import LiveModel
from evengrad.adapters.keras.trace.kinds import activation_name, kind_of_layer, type_of_layer
from evengrad.errors import CannotChangeError
from evengrad.theory.activations import canonical
from evengrad.values.spec import Kind

_FIXED = ("ReLU", "LeakyReLU", "ELU", "Softmax")
"""Layers that are one activation and hold no weights."""


def activation(
    live: LiveModel,
    before: str,
    after: str,
    slope: float | None,
    shaping: Sequence[float] | None = None,
) -> None:
    """Layers' own activations and activation layers; an activation that ``call`` calls cannot be replaced."""
    new, old = _function(after, slope), canonical(before)
    new = new if shaping is None else _shaped(new, *shaping)
    for call in live.trace.calls:
        plain = call.kind is Kind.ACTIVATION and not isinstance(call.operation, Layer)
        if plain and canonical(call.type) == old and id(call.operation) not in live.head:
            raise CannotChangeError(
                f"{call.source or type(live.model).__name__} calls {before} as a function, which only "
                "the script itself can change."
            )
    found = [layer for layer in _active(live) if canonical(name_of(layer)) == old]
    if not found:
        raise CannotChangeError(
            f"No hidden layer of {type(live.model).__name__} has the activation {before}."
        )
    for layer in found:
        put(layer, new)


def _function(name: str, slope: float | None) -> Callable[..., Any]:
    if canonical(name) == "leaky_relu" and slope is not None:
        return _leaky(slope)
    try:
        found: Callable[..., Any] = keras.activations.get(canonical(name))
    except ValueError:
        raise CannotChangeError(f"Keras knows no activation {name!r}.") from None
    return found


def _leaky(slope: float) -> Callable[..., Any]:
    def leaky_relu(x: Any) -> Any:
        return keras.activations.leaky_relu(x, negative_slope=slope)

    return leaky_relu


def _shaped(
    function: Callable[..., Any], alpha: float, beta: float, gamma: float, delta: float
) -> Callable[..., Any]:
    def shaped(x: Any) -> Any:
        return gamma * (function(alpha * x + beta) + delta)

    return shaped


def _active(live: LiveModel) -> Iterator[Any]:
    """Hidden layers with an activation; the gates of recurrent layers are their own."""
    for layer in compat.layers_of(live.model):
        if id(layer) not in live.head and not compat.is_recurrent(layer) and name_of(layer):
            yield layer


def name_of(layer: Any) -> str:
    """Of the activation that a layer has; empty where it has none."""
    if type(layer).__name__ in _FIXED:
        return type_of_layer(layer, kind_of_layer(layer))
    function = getattr(holder(layer), "activation", None)
    return activation_name(function) if callable(function) else ""


def holder(layer: Any) -> Any:
    """What has a layer's activation: the layer, or the last of ours in the activation's place."""
    within = getattr(layer, "activation", None)
    while isinstance(within, Layer) and callable(getattr(within, "activation", None)):
        layer, within = within, within.activation
    return layer


def put(layer: Any, function: Callable[..., Any]) -> None:
    """Another activation for a layer that has one. One that is a single activation becomes an Activation."""
    if type(layer).__name__ in _FIXED:
        layer.__class__ = keras.layers.Activation
        # A Softmax is called with a mask.
        layer.__dict__["call"] = lambda inputs, mask=None: layer.activation(inputs)  # noqa: ARG005
    holder(layer).activation = function
