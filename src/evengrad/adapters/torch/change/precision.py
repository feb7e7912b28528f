"""A live training without half precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from evengrad.adapters.torch.change.model import LiveTraining
from evengrad.errors import CannotChangeError

_HALF = (torch.float16, torch.bfloat16)


def full(live: LiveTraining) -> None:
    """Autocast does nothing, from this forward pass on. Raises CannotChangeError where there is none."""
    devices = {p.device.type for p in live.model.parameters()}
    if any(p.dtype in _HALF for p in live.model.parameters()):
        raise CannotChangeError(
            "The model's weights are in half precision, as are what the script gives it; only its author can "
            "make both float32."
        )
    on = [device for device in devices if torch.is_autocast_enabled(device)]
    if not on:
        raise CannotChangeError("All of it is computed in float32 already.")
    for device in on:
        torch.set_autocast_enabled(device, False)
    live.patches.wrap(torch.autocast, "__init__", _disabled)


def _disabled(original: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, device_type: str, dtype: Any = None, *given: Any, **named: Any) -> None:
        kept = {"cache_enabled": given[1]} if len(given) > 1 else named
        original(self, device_type, dtype, **kept | {"enabled": False})

    return init
