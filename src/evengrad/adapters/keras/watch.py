"""``evengrad.watch`` for a Keras model: says where the way in is."""

from __future__ import annotations

from typing import Any, NoReturn

from evengrad.errors import EvengradError


def watch(model: Any, _optimizer: Any, _settings: Any) -> NoReturn:
    """Keras trains in ``fit``, which has a place for callbacks."""
    raise EvengradError(
        f"{type(model).__name__} is a Keras model. Expected, for Keras: "
        "model.fit(..., callbacks=[evengrad.keras.Watch()])."
    )
