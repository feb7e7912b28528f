"""Layers of a live model whose outputs are multiplied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evengrad.adapters.keras.change.activation import holder, name_of, put
from evengrad.adapters.keras.change.model import LiveModel
from evengrad.errors import CannotChangeError


def scale_outputs(live: LiveModel, layers: Sequence[str], factor: float) -> None:
    """In the place of the activation that they lack."""
    for name in layers:
        layer = live.call(name).operation
        if name_of(layer) not in ("", "linear") or not hasattr(holder(layer), "activation"):
            raise CannotChangeError(
                f"{name!r} ({type(layer).__name__}) is no Dense or convolution without an activation, whose "
                "output could be scaled before it is added."
            )
        put(layer, _times(factor))


def _times(factor: float) -> Callable[[Any], Any]:
    def scaled(x: Any) -> Any:
        return factor * x

    return scaled
