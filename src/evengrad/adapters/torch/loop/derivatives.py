"""Second derivatives by the inputs that are 0 everywhere, as what is differentiated is piecewise linear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.compat import unseen
from evengrad.adapters.torch.loop.stepper import Report, Watcher

_PIECES = {
    "Relu": "ReLU",
    "LeakyRelu": "LeakyReLU",
    "Prelu": "PReLU",
    "Hardtanh": "Hardtanh",
    "Threshold": "Threshold",
    "Clamp": "clamp",
}
_FAR = 4000  # nodes of a graph that are looked at
_KEPT = 16


class Derivatives(Watcher):
    """Hears ``torch.autograd.grad`` in the first steps; changes no value."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._first: list[
            tuple[Any, str]
        ] = []  # node of a first derivative, the activation before it
        self._told = False

    def taken(self, outputs: Any, results: Sequence[Any]) -> None:
        """A derivative that keeps its graph."""
        if self._told:
            return
        with unseen(), torch.no_grad():
            self._judge(outputs, results)

    def _judge(self, outputs: Any, results: Sequence[Any]) -> None:
        given = _tensors(outputs)
        pieces = [piece for node, piece in self._first if _reaches(given, _same(node))]
        found = _tensors(results)
        if pieces and found and not any(bool((t != 0).any()) for t in found):
            self._told = True
            values = {"activation": pieces[-1], "count": sum(t.numel() for t in found)}
            self.report(None, "no_curvature", where(), values)
            return
        piece = "" if pieces else _piece(given)
        if piece:
            nodes = [t.grad_fn for t in found if t.grad_fn is not None]
            self._first = [*self._first, *((node, piece) for node in nodes)][-_KEPT:]


def _same(node: Any) -> Callable[[Any], bool]:
    return lambda other: other is node


def _tensors(value: Any) -> list[Any]:
    several = value if isinstance(value, tuple | list) else (value,)
    return [t for t in several if isinstance(t, torch.Tensor)]


def _piece(outputs: Sequence[Any]) -> str:
    """The piecewise linear activation in a graph; empty where there is none."""
    found: list[str] = []

    def known(node: Any) -> bool:
        name = (
            node.name().removesuffix("Backward0").removesuffix("Backward1").removesuffix("Kernel")
        )
        if name in _PIECES:
            found.append(_PIECES[name])
        return bool(found)

    _reaches(outputs, known)
    return found[0] if found else ""


def _reaches(outputs: Sequence[Any], wanted: Callable[[Any], bool]) -> bool:
    """Whether a graph has such a node in it."""
    left, seen = [t.grad_fn for t in outputs], set[Any]()
    while left and len(seen) < _FAR:
        node = left.pop(0)
        if node is None or node in seen:
            continue
        if wanted(node):
            return True
        seen.add(node)
        left += [before for before, _ in node.next_functions]
    return False
