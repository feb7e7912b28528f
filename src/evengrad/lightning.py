"""For Lightning: ``Trainer(callbacks=[evengrad.lightning.Watch()])``. It is loaded by the first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evengrad.adapters.torch.callbacks.lightning import LightningWatch as Watch

__all__ = ["Watch"]


def __getattr__(name: str) -> Any:
    if name == "Watch":
        from evengrad.adapters.torch.callbacks.lightning import LightningWatch

        return LightningWatch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
