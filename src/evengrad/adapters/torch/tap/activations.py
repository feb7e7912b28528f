"""A sample of every activation's output in an observed step's forward pass."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from evengrad.adapters.common.activity import POSITIONS, Activity
from evengrad.adapters.torch.compat import anything_compiled, compiled, unseen, wrapped_by_compile
from evengrad.adapters.torch.ops.calls import PASSED, flat_ends
from evengrad.adapters.torch.ops.kinds import kind_of
from evengrad.values.run import Floats
from evengrad.values.spec import Kind


class ActivationListener(TorchFunctionMode):
    """Hears the activation functions of the given modules while it is on; changes no value.

    Names: the module's path, and the function's name behind it where the module calls functions itself.
    """

    def __init__(self, roots: Sequence[Any]) -> None:
        super().__init__()
        self._paths: dict[int, str] = {}
        for root in roots:
            for path, module in root.named_modules():
                self._paths.setdefault(id(module), path)
        self._heard: dict[str, tuple[str, tuple[float, float] | None, Any]] = {}
        self._activity = Activity()
        self._names: dict[tuple[int, str], str] = {}
        self._on = False
        self._deaf = any(compiled(root) or wrapped_by_compile(root) for root in roots)

    def silence(self) -> None:
        """Something was compiled: never again, for a function mode would have it compiled once more."""
        self.stop()
        self._deaf = True

    def listen(self) -> None:
        """From now on, until ``take``; not where any code of this process was compiled."""
        if not self._on and not self._deaf and not anything_compiled():
            self._on = True
            self._heard = {}
            self.__enter__()

    def stop(self) -> None:
        """Hear no more; what was heard is kept."""
        if self._on:
            self._on = False
            self.__exit__(None, None, None)

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

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every torch call comes through here, the highest-level one of each."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in PASSED or not torch.is_grad_enabled():
            return result
        if kind_of(name, weighted=False, inputs=1) is Kind.ACTIVATION:
            layer = self._layer(name)
            if layer is not None and layer not in self._heard and isinstance(result, torch.Tensor):
                self._hear(
                    layer, name, result, flat_ends(args, kwargs) if "hardtanh" in name else None
                )
        return result

    def _hear(self, layer: str, name: str, result: Any, ends: tuple[float, float] | None) -> None:
        with unseen(), torch.no_grad():
            self._heard[layer] = name.rstrip("_"), ends, positions(result.detach())

    def _unique(self, maker: tuple[int, str], name: str) -> str:
        if maker not in self._names:
            taken = list(self._names.values())
            count = sum(other.rpartition("_")[0] == name or other == name for other in taken)
            self._names[maker] = f"{name}_{count + 1}" if name in taken else name
        return self._names[maker]

    def _layer(self, function: str) -> str | None:
        """The module whose code makes the call, from the frames above."""
        frame = sys._getframe(2)
        for _ in range(12):
            if frame is None:
                return None
            owner = frame.f_locals.get("self")
            if isinstance(owner, nn.Module) and id(owner) in self._paths:
                path = self._paths[id(owner)]
                whole = next(owner.children(), None) is None and bool(path)
                name = path if whole else f"{path}.{function.rstrip('_')}".lstrip(".")
                return self._unique((id(owner), function), name)
            frame = frame.f_back  # type: ignore[assignment]
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
    index = torch.arange(POSITIONS, device=values.device) * total // POSITIONS
    places = torch.unravel_index(index, values.shape[:-1])
    return values[places]
