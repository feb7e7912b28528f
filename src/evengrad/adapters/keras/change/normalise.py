"""A normalisation between a layer's weights and its activation, in a live model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.change.model import LiveModel, hand_on_training
from evengrad.adapters.keras.change.optimizer import renewed
from evengrad.errors import CannotChangeError

_GROUPS = (32, 16, 8, 4, 2)


class Normalised(keras.layers.Layer):
    """A layer's activation with a normalisation before it."""

    def __init__(self, normalisation: Any, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.normalisation = normalisation
        self.activation = activation

    def build(self, shape: Any) -> None:
        """The normalisation for inputs of that shape."""
        self.normalisation.build(shape)

    def call(self, x: Any, training: Any = None) -> Any:
        """What was the layer's activation alone."""
        return self.activation(self.normalisation(x, **self._mode(training)))

    def compute_output_shape(self, shape: Any) -> Any:
        """The input's."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """Enough for the model to be saved."""
        return {
            **super().get_config(),
            "normalisation": keras.saving.serialize_keras_object(self.normalisation),
            "activation": keras.activations.serialize(self.activation),
        }

    def _mode(self, training: Any) -> dict[str, Any]:
        return {"training": training} if compat.takes_training(self.normalisation) else {}


def normalise(live: LiveModel, kind: str, layers: Sequence[str]) -> None:
    """The layer's activation becomes a layer that normalises first, with weights that are the layer's own.

    Where a model's ``call`` does not take ``training``, it now does: else a batch normalisation, and all others
    below it, would use moving averages while it is trained.
    """
    for name in layers:
        call = live.call(name)
        layer, shape = call.operation, tuple(call.outputs[0].shape)
        if not callable(getattr(layer, "activation", None)) or len(call.outputs) != 1:
            raise CannotChangeError(
                f"{name!r} ({type(layer).__name__}) has no activation to normalise before: expected a Dense "
                "or a convolution."
            )
        _behind(layer, kind, (None, *shape[1:]))
        hand_on_training(layer)
    hand_on_training(live.model)
    renewed(live.model)


def _behind(layer: Any, kind: str, shape: tuple[Any, ...]) -> None:
    name = f"{(layer.path or layer.name).replace('/', '_')}_{kind}"
    norm = _norm(kind, layer, shape, {"name": f"{name}_norm", "dtype": layer.dtype_policy})
    new = Normalised(norm, layer.activation, name=name, dtype=layer.dtype_policy)
    new.build(shape)
    own(layer, "activation", new)


def own(layer: Any, name: str, new: Any) -> None:
    """A built layer, which takes no new ones, has one more."""
    with compat.unlocked(layer):
        setattr(layer, name, new)


def _norm(kind: str, layer: Any, shape: tuple[Any, ...], more: dict[str, Any]) -> Any:
    axis = 1 if getattr(layer, "data_format", "") == "channels_first" else -1
    if kind == "batch":
        return keras.layers.BatchNormalization(axis=axis, **more)
    if kind == "layer":
        return keras.layers.LayerNormalization(axis=axis, **more)
    width = int(shape[axis])
    groups = next((g for g in _GROUPS if width % g == 0 and width > g), None)
    if groups is None:
        raise CannotChangeError(f"{layer.name!r} has {width} channels, which form no groups.")
    return keras.layers.GroupNormalization(groups, axis=axis, **more)
