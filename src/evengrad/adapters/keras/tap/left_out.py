"""Models that a traced step calls in training mode and whose weights are given to no optimizer."""

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
from evengrad.adapters.keras.tap.holders import shown
from evengrad.adapters.keras.tap.listening import Applied
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.values.fact import Fact, Where


@dataclass(slots=True, eq=False)
class _LeftModel:
    """A model that a loss reads, the first of its weights as it was, and the line of the gradient.

    Attributes:
        model: it.
        first: that weight's values.
        place: the line.
        optimizer: that stepped next.
    """

    model: Any
    first: Any
    place: Where | None
    optimizer: Any = None


class LeftOut:
    """Follows them to the end of the script: who was trained, loaded or written to by then was not left out.

    Args:
        calls: of models since the last step.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._left: dict[int, _LeftModel] = {}
        self._held: dict[int, Any] = {}

    def differentiated(self, event: Differentiated) -> None:
        """A tape gave gradients: which models of this step are none of its sources?"""
        sources = {id(s) for s in event.sources}
        for called in self._calls.models:
            own = getattr(called.model, "trainable_variables", ())
            known = id(called.model) in self._left or called.training is not True
            if known or not own or any(id(v) in sources for v in own):
                continue
            if any(is_read(op, own[0]) for op in before(event.target, cut=True)):
                self._left[id(called.model)] = _LeftModel(called.model, _values(own[0]), line())

    def applied(self, event: Applied) -> None:
        """Whose weights these are."""
        self._held |= {id(v): v for v in event.variables}
        for left in self._left.values():
            left.optimizer = left.optimizer or event.optimizer

    def ended(self) -> Iterator[tuple[Any, Fact]]:
        """With the optimizer that stepped next."""
        for left in self._left.values():
            own = left.model.trainable_variables
            held = any(id(v) in self._held for v in own)
            if held or left.optimizer is None or not own:
                continue
            if not np.array_equal(left.first, _values(own[0])):
                continue
            shapes = [v.shape for v in own]
            whole = size_of([*shapes, *(v.shape for v in self._held.values())])
            given: tuple[Any, ...] = (
                left.optimizer,
                "left",
                left.place,
                shapes,
                [shown(left.model)],
            )
            yield left.optimizer, unheld_fact(*given, whole=whole, model=shown(left.model))


def _values(variable: Any) -> Any:
    with native.outside():
        return np.array(variable.numpy())
