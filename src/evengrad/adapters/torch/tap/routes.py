"""Which optimizer a loss belongs to, where a script has several: the one whose weights its gradient moves."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Container, Sequence
from types import CodeType, FrameType
from typing import Any, Protocol, TypeVar

from evengrad.adapters.common.source import own_frame

T = TypeVar("T", bound="LossTaker")
BackwardSite = tuple[tuple[CodeType, int], ...]
_FRAMES = 3  # a script's own helper that calls backward() is called from several places


class LossTaker(Protocol):
    """Told of losses."""

    def holds(self, ids: Container[int]) -> bool:
        """Whether any parameter of its optimizer has one of these ids."""


class Routes:
    """Learnt at the first backward pass of each line; later ones are looked up."""

    def __init__(self) -> None:
        self._known: dict[BackwardSite, list[weakref.ref[LossTaker]]] = {}

    def clear(self) -> None:
        """There are other optimizers now."""
        self._known.clear()

    def of(self, loss: Any, taps: Sequence[T]) -> tuple[BackwardSite, list[T]]:
        """The line of this backward pass, and those whose weights it reaches; all where it reaches none."""
        site = _site()
        if site not in self._known:
            reached = leaves([loss])
            self._known[site] = [weakref.ref(tap) for tap in taps if tap.holds(reached)]
        known = [ref() for ref in self._known[site]]
        return site, [tap for tap in taps if any(tap is one for one in known)] or list(taps)

    def wiped(self, tap: LossTaker, sites: Sequence[BackwardSite]) -> None:
        """What these lines gave an optimizer was set to zero before it stepped: they are others' where there
        are others.
        """
        for site in sites:
            others = [ref for ref in self._known.get(site, ()) if ref() not in (None, tap)]
            if others:
                self._known[site] = others


def leaves(tensors: Sequence[Any]) -> frozenset[int]:
    """Ids of the leaf tensors that a gradient of these reaches."""
    found = {id(t) for t in tensors if t.grad_fn is None and t.requires_grad}
    left = [t.grad_fn for t in tensors if t.grad_fn is not None]
    seen: set[Any] = set()
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None:
            found.add(id(variable))
        left += [child for child, _ in node.next_functions]
    return frozenset(found)


def _site() -> BackwardSite:
    frame: FrameType | None = own_frame(sys._getframe(1))
    found: list[tuple[CodeType, int]] = []
    while frame is not None and len(found) < _FRAMES:
        found.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(found)
