"""Where a gradient's way from the loss to a weight ends: detach, argmax, a tensor made anew, a step."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.compat import anything_compiled, tensor_table, unseen
from evengrad.adapters.torch.tap.hearing import ThreadMode, hearing
from evengrad.adapters.torch.tap.routes import leaves
from evengrad.values.fact import Where

_MOST = 256  # different places that are remembered of one step
_LEAVES = {"item", "tolist", "numpy", "__array__", "__float__", "__int__"}
_OTHERS = {
    torch.Tensor.grad.__get__: "grad",
    torch.Tensor.shape.__get__: "shape",
}
_STEPS = frozenset(["round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside"])
_REST: dict[str, tuple[float, ...]] = {
    "relu": (0.0,),
    "relu6": (0.0, 6.0),
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softmax": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "hardtanh": (-1.0, 1.0),
}
"""Values at which their slope is 0."""
_BOUNDED = frozenset(["clamp", "clip", "clamp_min", "clamp_max"])
_DATA = torch.Tensor.data.__get__


@dataclass(eq=False)
class Cut:
    """A call whose result carries no gradient though what it was given does, or one of zeros alone.

    Attributes:
        kind: what cuts: "detach", ".data", "no_grad", or the function's name.
        flat: the way goes on, but the function's slope is 0 at every value that it was given.
        place: the user's line.
        behind: ids of the weights that no gradient reaches by this way.
        number: of the cut, in their order.
    """

    kind: str
    place: Where | None
    behind: frozenset[int]
    number: int = 0
    flat: bool = False


class CutHearer:
    """Follows values from call to call while it is on; changes none. left: values that left torch, as numbers
    or arrays, though a gradient could have come through them.
    """

    def __init__(self) -> None:
        self.left: list[Cut] = []
        self._on: ThreadMode | None = None
        self._count = itertools.count()
        self._cuts: dict[tuple[str, Where | None], Cut] = {}
        self._table: MutableMapping[Any, Any] = tensor_table()

    def start(self) -> None:
        """In this thread; not where code was compiled, which a function mode would have compiled again."""
        if self._on is None and not anything_compiled():
            self._on = hearing()
            self._on.tell_all(self)

    def stop(self) -> None:
        """Hear no more."""
        if self._on is not None:
            self._on.tell_all(None)
            self._on.rest()
            self._on = None
        self.forget()

    def forget(self) -> None:
        """A step is over: nothing of it is followed any more."""
        self._cuts, self._table = {}, tensor_table()

    def before(self, loss: Any) -> list[Cut]:
        """The cuts that this value has come through, in their order."""
        return sorted(self._table.get(loss, ()), key=lambda cut: cut.number)

    def hear_call(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        """A call was made."""
        if self._on is None:
            return
        with unseen():
            given = list(_tensors((args, kwargs)))
            if given:
                self._follow(function, given, result)

    def _follow(self, function: Any, given: list[Any], result: Any) -> None:
        name = getattr(function, "__name__", "")
        alive = [t for t in given if t.requires_grad]
        come: frozenset[Cut] = frozenset().union(*(self._table.get(t, ()) for t in given))
        if name in _LEAVES:
            behind = leaves(alive).union(*(cut.behind for cut in come))
            if behind and len(self.left) < _MOST:
                self.left.append(Cut(name, where(), behind))
            return
        if (
            function in _OTHERS
            or name.rpartition("_")[2] == "like"
            or name.startswith(("new_", "requires_"))
        ):
            return
        outs = list(_tensors(result))
        cuts = bool(alive) and not any(out.requires_grad for out in outs)
        flat = not cuts and bool(alive) and level(name, alive[0], outs)
        for out in outs:
            found = come
            if (cuts or flat) and (cut := self._cut(function, name, alive)):
                cut.flat = flat
                found = come | {cut}
            if found:
                self._table[out] = found

    def _cut(self, function: Any, name: str, alive: list[Any]) -> Cut | None:
        kind = ".data" if function == _DATA else name
        if not torch.is_grad_enabled() and kind not in (".data", "detach"):
            kind = "no_grad"
        place = where()
        known = self._cuts.get((kind, place))
        if known is not None and kind == "no_grad":
            own = frozenset(id(t) for t in alive if t.is_leaf)
            if own <= known.behind:
                return known
        behind = leaves(alive) | (known.behind if known is not None else frozenset())
        if known is None and len(self._cuts) >= _MOST:
            return None
        if known is None:
            known = self._cuts[kind, place] = Cut(kind, place, behind, next(self._count))
        known.behind = behind
        return known


def level(name: str, given: Any, outs: list[Any]) -> bool:
    """Whether a function's slope is exactly 0 everywhere on what it was given; made of its result alone."""
    name = name.rstrip("_")
    if name in _STEPS:
        return True
    if len(outs) != 1 or not outs[0].numel() or outs[0].is_meta:
        return False
    out = outs[0].detach()
    if name in _REST:
        at_rest = [out == value for value in _REST[name]]
        return bool(functools.reduce(torch.logical_or, at_rest).all())
    bounded = name in _BOUNDED and given.shape == out.shape
    return bounded and not bool((out == given.detach()).any())


def _tensors(value: Any, depth: int = 3) -> Iterator[Any]:
    """In containers of Python's."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth and isinstance(value, tuple | list):
        for one in value:
            yield from _tensors(one, depth - 1)
    elif depth and isinstance(value, dict):
        for one in value.values():
            yield from _tensors(one, depth - 1)
