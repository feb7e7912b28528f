"""Loss scaling in a live training: PyTorch's own scaler around the script's backward and step."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils import clip_grad

from evengrad.adapters.torch.change.model import LiveTraining
from evengrad.adapters.torch.compat import holders, norm_clip_entries
from evengrad.errors import CannotChangeError


def loss_scale(live: LiveTraining, value: float) -> None:
    """``scaler.scale(loss).backward()``, ``scaler.step(optimizer)``, ``scaler.update()``."""
    if any(scaler.is_enabled() for scaler in live.scalers):
        raise CannotChangeError("The script scales its loss itself.")
    parameters = [p for group in live.optimizer.param_groups for p in group["params"]]
    if any(p.dtype is torch.float16 for p in parameters):
        raise CannotChangeError(
            "A scaler unscales gradients of float32 weights only, and these are float16: keep them in float32 "
            "and compute under torch.autocast."
        )
    device = parameters[0].device.type
    scaling = _Scaling(live.optimizer, torch.amp.GradScaler(device, init_scale=value))
    wraps: list[tuple[Any, str, Any]] = [
        (live.optimizer, "step", scaling.step),
        (torch.Tensor, "backward", scaling.backward),
        (torch.autograd, "backward", scaling.backward),
    ]
    clips = [*norm_clip_entries(), *holders(clip_grad.clip_grad_value_)]
    wraps += [(place, name, scaling.unscaled) for place, name in clips]
    for place, name, make in wraps:
        live.patches.wrap(place, name, make)


class _Scaling:
    """One optimizer's scaler, and where its present step stands."""

    def __init__(self, optimizer: Any, scaler: Any) -> None:
        self._optimizer, self._scaler = optimizer, scaler
        self._inside = False
        self._scaled = False
        self._divided = False

    def backward(self, original: Any) -> Any:
        """Of the scaled loss. (Backward calls itself once more by way of autograd, and of function modes.)"""

        def backward(loss: Any, *args: Any, **kwargs: Any) -> Any:
            if self._inside or not isinstance(loss, torch.Tensor) or loss.numel() != 1:
                return original(loss, *args, **kwargs)
            self._inside = self._scaled = True
            try:
                return original(self._scaler.scale(loss), *args, **kwargs)
            finally:
                self._inside = False

        return backward

    def step(self, original: Any) -> Any:
        """By the scaler, which makes it or not."""

        def step(*args: Any, **kwargs: Any) -> Any:
            if self._inside or not self._scaled:
                return original(*args, **kwargs)
            self._inside = True
            try:
                result = self._scaler.step(self._optimizer, *args, **kwargs)
                self._scaler.update()
            finally:
                self._inside = self._scaled = self._divided = False
            return result

        return step

    def unscaled(self, original: Any) -> Any:
        """The script's own clip reads gradients that are divided already."""

        def clip(*args: Any, **kwargs: Any) -> Any:
            if self._scaled and not self._divided and not self._inside:
                self._divided = True
                self._scaler.unscale_(self._optimizer)
            return original(*args, **kwargs)

        return clip
