"""evengrad for Keras 3: the callback ``Watch``. Importing this loads no framework until it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evengrad.adapters.keras.callback import Watch

__all__ = ["Watch"]


def __getattr__(name: str) -> Any:
    if name != "Watch":
        raise AttributeError(f"module 'evengrad.keras' has no attribute {name!r}")
    from evengrad.adapters.keras.callback import Watch

    return Watch
