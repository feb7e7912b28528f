"""Residual connections around layers of a live model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from typing import Any

import keras
from keras.layers import Layer

from evengrad.adapters.keras.change.model import LiveModel
from evengrad.adapters.keras.change.normalise import Normalised, own
from evengrad.adapters.keras.change.optimizer import renewed
from evengrad.adapters.keras.trace.trace import TracedCall
from evengrad.errors import CannotChangeError
from evengrad.values.spec import Kind


class Skipped(keras.layers.Layer):
    """A layer's activation, of x + scale * f(x). given: where the layer leaves its x for this call."""

    def __init__(self, activation: Any, given: _Given | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation
        self.given = given or _Given()

    def build(self, shape: Any) -> None:  # noqa: ARG002
        """The scalar, from 0."""
        self.scale = self.add_weight(shape=(), initializer="zeros", name="scale")

    def call(self, branch: Any) -> Any:
        """What was the layer's activation alone."""
        x = keras.ops.cast(self.given.take(), branch.dtype)
        return self.activation(x + self.scale * branch)

    def compute_output_shape(self, shape: Any) -> Any:
        """The input's."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """Enough for the model to be saved."""
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
        }


class _Given:
    """The inputs of layers that are being called."""

    def __init__(self) -> None:
        self._values: tuple[Any, ...] = ()

    def put(self, x: Any) -> None:
        self._values = (*self._values, x)

    def take(self) -> Any:
        *left, x = self._values
        self._values = tuple(left)
        return x


def skip(live: LiveModel, names: Sequence[str]) -> None:
    """The layer's activation, or what is behind the normalisation that follows, adds the layer's input."""
    found = [(name, _calls(live, name)) for name in names]
    ends = [_end(live, name, calls) for name, calls in found]
    for (_, calls), end in zip(found, ends, strict=True):
        layer = calls[0].operation
        _connect(layer, end, (None, *calls[0].outputs[0].shape[1:]))
    renewed(live.model)


def _calls(live: LiveModel, name: str) -> list[TracedCall]:
    layer = live.call(name).operation
    return [call for call in live.trace.calls if call.operation is layer]


def _end(live: LiveModel, name: str, calls: list[TracedCall]) -> Any:
    """The last layer of the branch. Raises CannotChangeError where x and f(x) differ in shape."""
    ends = {id(end): end for call in calls for end in [_followed(live, call)]}
    for call in calls:
        given = [tuple(t.shape[1:]) for t in call.reads()]
        made = [tuple(t.shape[1:]) for t in call.outputs]
        if given != made or len(given) != 1:
            raise CannotChangeError(
                f"{name!r} takes a tensor of shape {_shapes(given)} and gives one of {_shapes(made)}; a "
                "residual connection needs the same."
            )
    if len(ends) > 1:
        raise CannotChangeError(f"{name!r} is called several times, and not followed by one layer.")
    return next(iter(ends.values()))


def _followed(live: LiveModel, call: TracedCall) -> Any:
    """The normalisation that reads what a linear layer gives, else the layer itself."""
    layer = call.operation
    if getattr(layer, "activation", None) not in (None, keras.activations.linear):
        return layer
    for other in live.trace.calls:
        reads = any(t is made for t in other.reads() for made in call.outputs)
        if reads and other.kind is Kind.NORMALISATION and isinstance(other.operation, Layer):
            return other.operation
    return layer


def _shapes(shapes: list[tuple[Any, ...]]) -> str:
    return ", ".join(map(str, shapes)) or "()"


def _connect(layer: Any, end: Any, shape: tuple[Any, ...]) -> None:
    given = _Given()
    inside = end is layer and callable(getattr(layer, "activation", None))
    normalised = getattr(layer, "activation", None)
    holder = normalised if inside and isinstance(normalised, Normalised) else layer
    function = holder.activation if inside else keras.activations.linear
    name = f"{(layer.path or layer.name).replace('/', '_')}_skip"
    skipped = Skipped(function, given, name=name, dtype=layer.dtype_policy)
    skipped.build(shape)
    own(holder if inside else end, "activation" if inside else "skipped", skipped)
    if not inside:
        _behind(end, skipped)
    call = layer.call

    @wraps(call)
    def with_input(x: Any, *args: Any, **kwargs: Any) -> Any:
        given.put(x)
        return call(x, *args, **kwargs)

    layer.__dict__["call"] = with_input


def _behind(end: Any, skipped: Skipped) -> None:
    call = end.call

    @wraps(call)
    def with_skip(*args: Any, **kwargs: Any) -> Any:
        return skipped(call(*args, **kwargs))

    end.__dict__["call"] = with_skip
