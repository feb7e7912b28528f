"""Carries out a clip on the gradients at hand, and inside a fused optimizer where it can."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from evengrad.adapters.torch.compat import foreach_clamp_, foreach_mul_, foreach_norm, takes_scale
from evengrad.adapters.torch.tap.reading import as_host, exact
from evengrad.errors import EvengradError
from evengrad.recording.clip import (
    AGC,
    Clip,
    GlobalNorm,
    NormClip,
    OnHost,
    State,
    UpdateClip,
    Value,
)
from evengrad.values.message import msg
from evengrad.values.run import Floats, Tensor

_HOST = OnHost()
_ONE = np.ones(())
_SAFE = 1e-200  # sums of squares between this and its inverse lost nothing in float64


class Clipper:
    """One optimizer's clip with what it remembers. factors(norms) first, then execute."""

    def __init__(self, clip: Clip | None, tensors: Sequence[Tensor], optimizer: Any) -> None:
        self.clip = clip
        self._state: State = {}
        self._last = next((t.layer for t in reversed(tensors) if t.fan_in), None)
        self._tensors = tensors
        if isinstance(clip, NormClip):
            self._state = clip.start(len(tensors))
        if isinstance(clip, UpdateClip) and not any("betas" in g for g in optimizer.param_groups):
            raise EvengradError(
                msg(
                    "The clip 'update' reads Adam's second moment, which {kind} has not. "
                    "Expected Adam, AdamW or the like; for this optimizer take auto, norm or agc.",
                    kind=type(optimizer).__name__,
                )
            )

    def factors(self, norms: Floats, total: float) -> Floats:
        """Of a clip by norms: what each gradient is to be multiplied by, (tensors,) or (); 1 otherwise.

        total: norm of all together.
        """
        if not isinstance(self.clip, NormClip):
            return _ONE
        if isinstance(
            self.clip, GlobalNorm
        ):  # the same as its own arithmetic, without going through it
            return np.asarray(self.clip.bound / total) if total > self.clip.bound else _ONE
        with np.errstate(all="ignore"):
            factors, self._state = self.clip.factors(_HOST, norms, self._state)
        return np.asarray(factors, dtype=np.float64)

    def elementwise(self, indices: Sequence[int], parameters: Sequence[Any]) -> Floats | None:
        """Value clip and AGC, in place; what the norms are after it, (parameters,). None for other kinds."""
        gradients = [p.grad for p in parameters]
        if isinstance(self.clip, Value):
            foreach_clamp_(gradients, self.clip.bound)
        elif isinstance(self.clip, AGC):
            for i, parameter in zip(indices, parameters, strict=True):
                if self._tensors[i].layer != self._last:
                    _by_units(self.clip, parameter)
        else:
            return None
        return as_host(torch.stack(foreach_norm(gradients)))


def _by_units(clip: AGC, parameter: Any) -> None:
    gradient, weight = parameter.grad, parameter.detach()
    axes = tuple(range(1, gradient.ndim)) if gradient.squeeze().ndim > 1 else None
    keep = axes is not None
    g = torch.linalg.vector_norm(gradient, dim=axes, keepdim=keep)
    w = torch.linalg.vector_norm(weight, dim=axes, keepdim=keep)
    gradient.mul_(clip.unit_factors(torch, g, w))


def multiply(optimizer: Any, gradients: Sequence[Any], factors: Floats, scale: Any) -> bool:
    """Multiply the gradients, by the optimizer's own kernel where it is fused, else in place.

    In place only those that the clip binds on.

    Args:
        optimizer: None to leave its kernel alone.
        gradients: changed in place.
        factors: one each, (gradients,), or one for all, ().
        scale: what a GradScaler set as ``grad_scale``, if anything; it takes that off again itself.

    Returns:
        Whether ``release`` must be called.
    """
    if (factors >= 1).all():
        return False
    if factors.ndim == 0:
        if optimizer is not None and folds(optimizer, gradients):
            device = gradients[0].device
            inverse = torch.full((), 1 / float(factors), dtype=torch.float32, device=device)
            if hasattr(optimizer, "grad_scale"):
                optimizer.grad_scale = inverse if scale is None else scale * inverse
                return False
            optimizer.grad_scale, optimizer.found_inf = inverse, torch.zeros((), device=device)
            return True
        foreach_mul_(gradients, float(factors))
        return False
    bound = [(g, float(f)) for g, f in zip(gradients, factors, strict=True) if f < 1]
    foreach_mul_([g for g, _ in bound], [f for _, f in bound])
    return False


def release(optimizer: Any) -> None:
    """Take off what ``multiply`` set."""
    for name in ("grad_scale", "found_inf"):
        if hasattr(optimizer, name):
            delattr(optimizer, name)


def folds(optimizer: Any, gradients: Sequence[Any]) -> bool:
    """Whether the optimizer's kernel divides by ``grad_scale`` itself, for all of these gradients.

    Fused kernels on the CPU go through memory in order and ignore strides: a gradient laid out otherwise than
    its weight would be misread with or without us, so those are left alone here.
    """
    groups = optimizer.param_groups
    if not takes_scale(optimizer):
        return False
    if not all(group.get("fused") for group in groups):
        return False
    parameters = [p for group in groups for p in group["params"] if p.grad is not None]
    one = gradients[0].device
    return all(p.grad.stride() == p.stride() and p.device == one for p in parameters)


class UpdateClipper:
    """StableAdamW's update clipping around any Adam: the step is made, and then taken back in part."""

    def __init__(self, clip: UpdateClip) -> None:
        self.clip = clip
        self._before: list[tuple[Any, Any]] = []

    def before(self, parameters: Sequence[Any]) -> None:
        """Keep the weights."""
        self._before = [(p, p.detach().clone()) for p in parameters]

    def after(self, optimizer: Any, scale: float = 1.0) -> float:
        """Move each weight only by its factor; the smallest factor. scale: the gradients are too large by
        that (a fused optimizer under a GradScaler has divided them already; then 1).
        """
        groups = {id(p): g for g in optimizer.param_groups for p in g["params"]}
        least = 1.0
        with torch.no_grad():
            for parameter, old in self._before:
                second = optimizer.state.get(parameter, {}).get("exp_avg_sq")
                if second is None or parameter.grad is None:
                    continue
                step = float(optimizer.state[parameter]["step"])
                second = second / (1 - groups[id(parameter)]["betas"][1] ** step)
                ratio = (parameter.grad / scale) / second.clamp_min(self.clip.eps**2).sqrt()
                rms = exact(ratio) / max(ratio.numel(), 1) ** 0.5
                factor = float(self.clip.factor(_HOST, np.float64(rms)))
                if factor < 1:
                    parameter.copy_(torch.lerp(old, parameter, factor))
                    least = min(least, factor)
        self._before = []
        return least


def total_norm(norms: Floats) -> float:
    """Norm of all gradients together."""
    squares = float(np.dot(norms, norms))
    if _SAFE < squares < 1 / _SAFE:
        return math.sqrt(squares)
    if not norms.size:
        return 0.0
    top = float(norms.max())
    if not (0.0 < top < math.inf):
        return top
    scaled = norms / top
    return top * math.sqrt(float(np.dot(scaled, scaled)))
