"""Other activations in a live model, by a function mode: modules and functions of the user's own alike."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from evengrad.adapters.torch.record.state import untouched
from evengrad.errors import CannotChangeError

_NEW: dict[str, Callable[..., Any]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "mish": F.mish,
    "sigmoid": torch.sigmoid,
    "linear": lambda x: x,
}
_WEIGHTED = (
    "linear",
    "bilinear",
    "conv",
    "matmul",
    "__matmul__",
    "bmm",
    "mm",
    "addmm",
    "baddbmm",
    "einsum",
)


class Substitute(TorchFunctionMode):
    """Stands in for some calls of each forward pass, counted from ``restart`` by the function's name."""

    def __init__(self) -> None:
        super().__init__()
        self.on = False
        self._new: dict[str, tuple[Callable[[Any], Any], Callable[[int], bool]]] = {}
        self._count: Counter[str] = Counter()

    def __enter__(self) -> Any:
        self.on = True
        return super().__enter__()

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._new)

    def activation(
        self,
        old: str,
        new: str,
        slope: float | None,
        shaping: Sequence[float] | None,
        kept: Collection[int],
    ) -> None:
        """``new`` instead of every call of ``old`` but those at the places in ``kept``."""
        if new not in _NEW:
            raise CannotChangeError(
                f"Expected one of {', '.join(_NEW)} as activation, got {new!r}."
            )
        function = _NEW[new]
        if slope is not None:
            function = functools.partial(F.leaky_relu, negative_slope=slope)
        if shaping is not None:
            function = _shaped(function, *shaping)
        self._new[old] = function, lambda place: place not in kept

    def without(self, places: Mapping[str, Collection[int]]) -> None:
        """Nothing instead of these calls."""
        for name, chosen in places.items():
            self._new[name] = _nothing, frozenset(chosen).__contains__

    def restart(self) -> None:
        """A forward pass begins."""
        self._count.clear()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every torch call comes through here."""
        name = _name(func)
        if name in self._new:
            new, applies = self._new[name]
            place = self._count[name]
            self._count[name] += 1
            if applies(place):
                return new(args[0] if args else (kwargs or {})["input"])
        return func(*args, **(kwargs or {}))


def _nothing(x: Any) -> Any:
    return x


def _shaped(
    function: Callable[..., Any], alpha: float, beta: float, gamma: float, delta: float
) -> Callable[..., Any]:
    return lambda x: gamma * (function(alpha * x + beta) + delta)


class _Order(TorchFunctionMode):
    """The calls of one name, and which of them had weights behind them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._wanted = name
        self.calls = 0
        self.last: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = _name(func)
        if name == self._wanted:
            self.last.append(self.calls)
            self.calls += 1
        elif name.startswith(_WEIGHTED):
            self.last = []
        return func(*args, **(kwargs or {}))


def closing(model: Any, args: Any, kwargs: Any, name: str) -> tuple[int, tuple[int, ...]]:
    """How often the model calls that function, and the places of those calls that are behind the last weights:
    they belong to the loss. Found by a forward pass that leaves the model as it was.
    """
    order = _Order(name)
    with untouched(model), torch.no_grad(), order:
        model(*args, **kwargs)
    return order.calls, tuple(order.last)


def _name(func: Any) -> str:
    return str(getattr(func, "__name__", "")).rstrip("_") or "_"
