"""A sample of every activation's output in an observed step's forward pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import nn

from evengrad.adapters.common.activity import POSITIONS, Activity
from evengrad.adapters.torch.compat import anything_compiled, compiled, unseen, wrapped_by_compile
from evengrad.adapters.torch.ops.calls import flat_ends
from evengrad.adapters.torch.statistics.layout import local
from evengrad.adapters.torch.tap.hearing import ThreadMode, hearing
from evengrad.values.run import Floats


class ActivationListener:
    """Hears the activation functions of the given modules while it is on; changes no value.

    Names: the module's path, and the function's name behind it where the module calls functions itself.
    deaf: something was compiled, and nothing is heard.
    """

    def __init__(self, roots: Sequence[Any]) -> None:
        self._paths: dict[int, str] = {}
        for root in roots:
            for path, module in root.named_modules():
                self._paths.setdefault(id(module), path)
        self._heard: dict[str, tuple[str, tuple[float, float] | None, Any]] = {}
        self._activity = Activity()
        self._names: dict[tuple[int, str], str] = {}
        self._hearing: ThreadMode | None = None
        self.deaf = any(compiled(root) or wrapped_by_compile(root) for root in roots)

    def silence(self) -> None:
        """Something was compiled: never again, for a function mode would have it compiled once more."""
        self.stop()
        self.deaf = True

    def listen(self) -> None:
        """From now on, until ``take``; not where any code of this process was compiled."""
        if self._hearing is None and not self.deaf and not anything_compiled():
            self._heard = {}
            self._hearing = hearing()
            self._hearing.add(self)

    def stop(self) -> None:
        """Hear no more; what was heard is kept."""
        if self._hearing is not None:
            self._hearing.drop(self)
            self._hearing = None
        hearing().rest()

    def take(self) -> list[Any]:
        """Stop; the samples that were heard since ``listen``, in forward order, where they are."""
        self.stop()
        return [values for _, _, values in self._heard.values()]

    def figures(self, host: Sequence[Floats]) -> tuple[tuple[str, ...], Floats]:
        """The names of what was taken, and (names, LAYER_FIGURES) of its values on the host."""
        names = tuple(self._heard)
        rows = [
            self._activity.figures(n, self._heard[n][0], v, self._heard[n][1])
            for n, v in zip(names, host, strict=True)
        ]
        return names, np.array(rows, dtype=np.float64).reshape(-1, 3)

    def hear(
        self, function: str, args: Any, kwargs: Any, result: Any, frame: FrameType | None
    ) -> None:
        """An activation function was called."""
        layer = self._layer(function, frame)
        if layer is None or layer in self._heard or not isinstance(result, torch.Tensor):
            return
        ends = flat_ends(args, kwargs) if "hardtanh" in function else None
        with unseen(), torch.no_grad():
            self._heard[layer] = function.rstrip("_"), ends, positions(local(result.detach()))

    def _unique(self, maker: tuple[int, str], name: str) -> str:
        if maker not in self._names:
            taken = list(self._names.values())
            count = sum(other.rpartition("_")[0] == name or other == name for other in taken)
            self._names[maker] = f"{name}_{count + 1}" if name in taken else name
        return self._names[maker]

    def _layer(self, function: str, frame: FrameType | None) -> str | None:
        """The module whose code makes the call, from this frame up."""
        for _ in range(12):
            if frame is None:
                return None
            owner = frame.f_locals.get("self")
            if isinstance(owner, nn.Module) and id(owner) in self._paths:
                path = self._paths[id(owner)]
                whole = next(owner.children(), None) is None and bool(path)
                name = path if whole else f"{path}.{function.rstrip('_')}".lstrip(".")
                return self._unique((id(owner), function), name)
            frame = frame.f_back
        return None


def positions(values: Any) -> Any:
    """A copy of at most 128 positions (samples, pixels, tokens), each with all its units: (positions, units).

    Units are the channels of maps (batch, channels, ...) and the last axis of all else. Positions lie at equal
    distances.
    """
    if values.ndim >= 4:
        values = values.movedim(1, -1)
    elif values.ndim < 2:
        return values.reshape(-1, 1).clone()
    batch, units = values.shape[0], values.shape[-1]
    inner = values[0].numel() // max(units, 1)
    total = batch * inner
    if total <= POSITIONS:
        return values.reshape(-1, units).clone()
    if values.is_contiguous():
        return values.view(total, units).index_select(0, _index(total, values.device))
    return values[_places(tuple(values.shape[:-1]), values.device)]


@lru_cache(maxsize=256)
def _index(total: int, device: Any) -> Any:
    """Made once, for it takes more launches than the sample itself."""
    return torch.arange(POSITIONS, device=device) * total // POSITIONS


@lru_cache(maxsize=256)
def _places(shape: tuple[int, ...], device: Any) -> Any:
    return torch.unravel_index(_index(math.prod(shape), device), shape)
