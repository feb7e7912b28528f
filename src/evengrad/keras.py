"""For Keras models: ``model.fit(callbacks=[evengrad.keras.Watch()])``. Keras is loaded by the first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evengrad.adapters.keras.watch import Watch

__all__ = ["Watch"]


def __getattr__(name: str) -> Any:
    if name == "Watch":
        from evengrad.adapters.keras.watch import Watch

        return Watch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
