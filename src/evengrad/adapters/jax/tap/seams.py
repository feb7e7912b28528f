"""Where a script meets a tap: in what it imports, now or later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evengrad.adapters.common.importing import when_imported
from evengrad.adapters.common.patching import Patches
from evengrad.adapters.jax import compat
from evengrad.adapters.jax.tap.tap import Taps


def put_on(taps: Taps, patches: Patches, wanted: Callable[[], bool]) -> None:
    """Patch what the script has imported of optax, Equinox and flax, or will. wanted: whether still."""
    taps.ears.put_on(patches)
    compat.quieten(patches.on_undo)

    def later(name: str, patch: Callable[[Any], object]) -> None:
        when_imported(name, lambda module: wanted() and patch(module))

    def scaling(module: Any) -> None:
        patches.wrap(module.DynamicScale, "value_and_grad", lambda f: _noting(taps, f))

    later("optax", lambda module: taps.put_on(patches, module))
    later("equinox", lambda module: taps.open.put_on(patches, module))
    later("flax.training.dynamic_scale", scaling)


def _noting(taps: Taps, original: Any) -> Any:
    def value_and_grad(*args: Any, **kwargs: Any) -> Any:
        taps.scaled = True
        return original(*args, **kwargs)

    return value_and_grad
