"""For Hugging Face: ``Trainer(callbacks=[evengrad.transformers.Watch()])``. It is loaded by the first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evengrad.adapters.torch.callbacks.transformers import TransformersWatch as Watch

__all__ = ["Watch"]


def __getattr__(name: str) -> Any:
    if name == "Watch":
        from evengrad.adapters.torch.callbacks.transformers import TransformersWatch

        return TransformersWatch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
