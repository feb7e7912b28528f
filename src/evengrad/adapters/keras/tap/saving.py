"""Saves and loads a watched optimizer as if it were not watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras.tap.ring import AnyRing
from evengrad.recording import failure

_NAMES = ("save_own_variables", "load_own_variables", "set_weights")


def hide(ring: AnyRing, optimizers: tuple[Any, ...]) -> Callable[[], None]:
    """Keep the ring out of what these instances save and load; returns what ends that."""

    def hidden(original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            with ring.out():
                return original(*args, **kwargs)

        return call

    patches = Patches(failure.tell)
    for optimizer in optimizers:
        for name in _NAMES:
            if hasattr(optimizer, name):
                patches.wrap(optimizer, name, hidden)
    return patches.undo
