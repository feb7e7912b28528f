"""What is patched in torch while anything is watched: backward, the framework's own clips, the loss scaler."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.utils import clip_grad
from torch.overrides import has_torch_function

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.torch.compat import as_list, holders, wrap_norm_clip
from evengrad.adapters.torch.tap.capture import without_hooks
from evengrad.adapters.torch.tap.models import find_roots
from evengrad.adapters.torch.tap.routes import Routes
from evengrad.adapters.torch.tap.tap import OptimizerTap

_taps: list[weakref.ref[OptimizerTap]] = []
_patches = Patches()
_routes = Routes()


def add(tap: OptimizerTap) -> None:
    """Tell a tap of losses, clips and scalers from now on, as long as it lives."""
    if not _taps:
        _patch()
    _taps.append(weakref.ref(tap))
    _routes.clear()


def discard(tap: OptimizerTap) -> None:
    """Tell it no more; the last one takes the patches off."""
    _taps[:] = [ref for ref in _taps if ref() not in (None, tap)]
    if not _taps:
        _patches.undo()
    _routes.clear()


def wiped(optimizers: list[Any]) -> None:
    """The gradients of these were set to zero: losses since their last steps are other optimizers' alone."""
    for tap in _living():
        if any(tap.optimizer is one for one in optimizers):
            _routes.wiped(tap, tap.forget_losses())


def _living() -> list[OptimizerTap]:
    return [tap for ref in list(_taps) if (tap := ref()) is not None]


def _patch() -> None:
    scaled: dict[int, tuple[Any, Any]] = {}  # id of a scaled loss -> it, and what it was before
    wrap = _patches.wrap
    wrap(torch.Tensor, "backward", lambda original: _backward(original, scaled))
    wrap(torch.autograd, "backward", lambda original: _several(original, scaled))
    wrap_norm_clip(_patches, _look)
    for place, name in holders(clip_grad.clip_grad_value_):
        wrap(place, name, _clip_by_value)
    wrap(torch.amp.GradScaler, "scale", lambda original: _scale(original, scaled))
    wrap(torch.amp.GradScaler, "step", _scaler_step)
    wrap(torch.nn.Module, "__getstate__", _getstate)
    wrap(torch, "compile", _compile)
    wrap(torch.nn.Module, "compile", _compile)


def _note(loss: Any, scaled: dict[int, tuple[Any, Any]], gradient: Any = None) -> None:
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        return
    known = scaled.pop(id(loss), None)
    value = loss if known is None else known[1]
    if isinstance(gradient, torch.Tensor) and gradient.numel() == 1:
        value = value.detach() * gradient.detach().reshape(value.shape)
    taps, site = _living(), None
    if len(taps) > 1:
        site, taps = _routes.of(loss, taps)
    for tap in taps:
        tap.note_loss(value, site)


def _backward(original: Any, scaled: dict[int, tuple[Any, Any]]) -> Any:
    def backward(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        if not has_torch_function((tensor,)):  # else it comes here once more, behind what has one
            _note(tensor, scaled, args[0] if args else kwargs.get("gradient"))
        return original(tensor, *args, **kwargs)

    return backward


def _several(original: Any, scaled: dict[int, tuple[Any, Any]]) -> Any:
    def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
        single = tensors[0] if isinstance(tensors, tuple | list) and len(tensors) == 1 else tensors
        given = args[0] if args else kwargs.get("grad_tensors")
        plain = given is None or list(given) == [None]  # a stage of a pipeline gives the latter
        if isinstance(single, torch.Tensor) and plain and len(args) < 2:
            _note(single, scaled)
        return original(tensors, *args, **kwargs)

    return backward


def _scale(original: Any, scaled: dict[int, tuple[Any, Any]]) -> Any:
    def scale(scaler: Any, outputs: Any) -> Any:
        found = original(scaler, outputs)
        if isinstance(found, torch.Tensor) and found is not outputs:
            scaled.clear()
            scaled[id(found)] = found, outputs
        return found

    return scale


def _clip_by_value(original: Any) -> Any:
    def clip(parameters: Any, *args: Any, **kwargs: Any) -> Any:
        given = as_list(parameters)
        _look(given, lambda: torch.ones(()))
        return original(given, *args, **kwargs)

    return clip


def _look(parameters: list[Any], factor: Callable[[], Any]) -> None:
    for tap in _living():
        if tap.owns(parameters):
            tap.look(factor())


def _getstate(original: Any) -> Any:
    def getstate(module: Any) -> Any:
        state = original(module)
        return without_hooks(state) if isinstance(state, dict) else state

    return getstate


def _scaler_step(original: Any) -> Any:
    """A GradScaler calls step() itself, or skips it: then no hook of the optimizer is called."""

    def step(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        tap = next((t for t in _living() if t.optimizer is optimizer), None)
        if tap is None or not scaler.is_enabled():
            return original(scaler, optimizer, *args, **kwargs)
        return tap.under_scaler(scaler, lambda: original(scaler, optimizer, *args, **kwargs))

    return step


def _compile(original: Any) -> Any:
    """torch.compile and Module.compile: what is compiled must not have our hooks inside."""

    def compile_(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        function = bool(args) and not isinstance(args[0], torch.nn.Module)
        made = [result] if isinstance(result, torch.nn.Module) else []
        for tap in _living():
            own = [p for group in tap.optimizer.param_groups for p in group["params"]]
            tap.rewire([] if function else find_roots(own, [*tap.training.roots, *made]))
        return result

    return compile_
