"""The bounds that a function has clamped values to, followed through changes of their shape."""

from __future__ import annotations

from typing import Any

import torch

from evengrad.adapters.torch.compat import tensor_table

_Clamp = tuple[str, float | None, float | None]
_MOVE = frozenset(
    ["view", "reshape", "flatten", "squeeze", "unsqueeze", "contiguous", "ravel", "__getitem__"]
)
_GIVEN = frozenset(["clamp", "clip", "hardtanh", "clamp_min", "clamp_max"])
_FIXED: dict[str, tuple[float | None, float | None]] = {
    "relu6": (0.0, 6.0),
    "hardsigmoid": (0.0, 1.0),
    "exp": (0.0, None),
}


class Clamps:
    """Told of calls that were made."""

    def __init__(self) -> None:
        self._known = tensor_table()

    def concerns(self, function: str) -> bool:
        """Whether a call by that name bounds values or moves them."""
        return (
            function in _GIVEN or function in _FIXED or (function in _MOVE and len(self._known) > 0)
        )

    def follow(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """A call."""
        if not isinstance(result, torch.Tensor) or not result.requires_grad:
            return
        if function in _MOVE:
            known = self._known.get(args[0]) if args else None
        elif function in _FIXED:
            known = (function, *_FIXED[function])
        else:
            known = _bounded(function, args[1:], kwargs)
        if known is not None:
            self._known[result] = known

    def of(self, tensor: Any) -> _Clamp | None:
        """Of a loss's output."""
        found: _Clamp | None = self._known.get(tensor)
        return found


def _bounded(function: str, args: Any, kwargs: Any) -> _Clamp | None:
    names: tuple[str, ...] = ("min_val", "max_val") if function == "hardtanh" else ("min", "max")
    if function in ("clamp_min", "clamp_max"):
        names = (names[function == "clamp_max"],)
    given = {**dict(zip(names, args, strict=False)), **{n: kwargs[n] for n in names if n in kwargs}}
    if function == "hardtanh":
        given = {"min_val": -1.0, "max_val": 1.0, **given}
    known = {k: float(v) for k, v in given.items() if isinstance(v, int | float)}
    if len(known) != sum(v is not None for v in given.values()) or not known:
        return None
    return (
        function,
        known.get(names[0].replace("max", "min")),
        known.get(names[-1].replace("min", "max")),
    )
