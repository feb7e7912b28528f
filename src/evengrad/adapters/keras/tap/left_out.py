"""Models that a traced step calls and whose weights are given to no optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from evengrad.adapters.keras.facts.graphs import before, is_read
from evengrad.adapters.keras.facts.lines import line
from evengrad.adapters.keras.facts.unheld import size_of, unheld_fact
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.called import Calls
from evengrad.adapters.keras.tap.holders import Holders, shown
from evengrad.adapters.keras.tap.listening import Applied
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.values.fact import Fact, Where


@dataclass(slots=True, eq=False)
class _LeftModel:
    """A model that a loss reads, the first of its weights as it was, and the line of the gradient.

    Attributes:
        model: it.
        name: the user's.
        first: that weight's values.
        place: the line.
        quiet: it was not called in training mode.
        optimizer: that stepped next.
    """

    model: Any
    name: str
    first: Any
    place: Where | None
    quiet: bool = False
    optimizer: Any = None


class LeftOut:
    """Follows them to the end of the script: who was trained, loaded or written to by then was not left out.

    One that is not called in training mode may be meant to stay as it is, unless two optimizers move the same
    weights of another.

    Args:
        calls: of models since the last step.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._left: dict[int, _LeftModel] = {}
        self._held: dict[int, Any] = {}
        self._movers: dict[frozenset[int], Any] = {}
        self._twice: tuple[Any, Where | None, str] | None = None
        self._line: Where | None = None
        self._asked: dict[int, Any] = {}

    def differentiated(self, event: Differentiated) -> None:
        """A tape gave gradients: which models of this step are none of its sources?"""
        self._line = line()
        sources = {id(s) for s in event.sources}
        reached = zip(event.sources, event.gradients, strict=False)
        self._asked |= {
            id(v): v for v, g in reached if g is not None and getattr(v, "trainable", False)
        }
        for called in self._calls.models:
            own = getattr(called.model, "trainable_variables", ())
            if id(called.model) in self._left or not own or any(id(v) in sources for v in own):
                continue
            if any(is_read(op, own[0]) for op in before(event.target, cut=True)):
                quiet = called.training is not True
                first = _values(own[0])
                left = _LeftModel(called.model, shown(called.model), first, self._line, quiet)
                self._left[id(called.model)] = left

    def applied(self, event: Applied) -> None:
        """Whose weights these are."""
        self._held |= {id(v): v for v in event.variables}
        mover = self._movers.setdefault(frozenset(map(id, event.variables)), event.optimizer)
        if mover is not event.optimizer and self._twice is None:
            moved = Holders(event.variables).shown
            self._twice = event.optimizer, self._line, moved
        for left in self._left.values():
            left.optimizer = left.optimizer or event.optimizer

    def ended(self) -> Iterator[tuple[Any, Fact]]:
        """With the optimizer that stepped next."""
        for left in self._left.values():
            own = left.model.trainable_variables
            held = any(id(v) in self._held for v in own)
            if held or left.optimizer is None or not own:
                continue
            if left.quiet and self._twice is None:
                continue
            if np.array_equal(left.first, _values(own[0])):
                yield self._fact(left, own)
                return
        loose = [v for key, v in self._asked.items() if key not in self._held]
        if self._twice is not None and loose:
            names = ", ".join(dict.fromkeys(v.path.rpartition("/")[0] for v in loose[:6]))
            yield self._doubled(*self._twice, loose, names)

    def _fact(self, left: _LeftModel, own: list[Any]) -> tuple[Any, Fact]:
        if self._twice is not None:
            return self._doubled(*self._twice, own, left.name)
        shapes = [v.shape for v in own]
        given = left.optimizer, "left", left.place, shapes, [left.name]
        whole = size_of([*shapes, *(v.shape for v in self._held.values())])
        return left.optimizer, unheld_fact(*given, whole=whole, model=left.name)

    def _doubled(
        self, optimizer: Any, place: Where | None, other: str, own: list[Any], name: str
    ) -> tuple[Any, Fact]:
        """Two optimizers have the same weights, and none has these."""
        shapes = [v.shape for v in own]
        given = optimizer, "twice", place, shapes, [name]
        whole = size_of([*shapes, *(v.shape for v in self._held.values())])
        return optimizer, unheld_fact(*given, whole=whole, model=name, other=other)


def _values(variable: Any) -> Any:
    with native.outside():
        return np.array(variable.numpy())
