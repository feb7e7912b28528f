"""Several backward passes to one step, of losses that were not divided by their number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.loop.stepper import Report, Stepper, Watcher
from evengrad.values.fact import Where

_ENOUGH = 3  # steps
_SCALING = ("DivBackward", "MulBackward")


@dataclass
class _Pieces:
    """Lines of the backward passes since the last step, those of undivided losses; counts: of past steps."""

    places: list[Where | None] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    last: Where | None = None


class Accumulating(Watcher):
    """Counts the backward passes of one line to each step.

    Args:
        report: takes what was seen.
        pieces: told, for an optimizer, by how much its losses are too many.
    """

    def __init__(self, report: Report, pieces: Callable[[Any, int], object]) -> None:
        super().__init__(report)
        self._pieces = pieces
        self._known: dict[int, _Pieces] = {}
        self._told: set[int] = set()
        self._scaled: Any = None

    def scales(self, output: Any) -> None:
        """A GradScaler gave this output."""
        self._scaled = getattr(output, "grad_fn", None)

    def backward_ended(self, loss: Any, known: Sequence[Stepper]) -> None:
        """One more piece of those that it may have reached."""
        place = None if self._divided(loss) else where()
        for one in known:
            if any(p.grad is not None for p in one.parameters):
                pieces = self._known.setdefault(id(one), _Pieces())
                pieces.places.append(place)
                self._pieces(one.optimizer, self.count(one))

    def zeroed(self, whose: Sequence[Stepper]) -> None:
        """What came before is gone."""
        for one in whose:
            if id(one) in self._known:
                self._known[id(one)].places.clear()

    def count(self, one: Stepper) -> int:
        """How many undivided losses of one line are in the gradients; 1 where they are not all of one."""
        places = self._known.setdefault(id(one), _Pieces()).places
        if len(places) < 2 or None in places or len(set(places)) > 1:
            return 1
        return len(places)

    def last(self, one: Stepper) -> Where | None:
        """The line of the last one."""
        places = self._known.setdefault(id(one), _Pieces()).places
        return places[-1] if places else None

    def stepped(self, one: Stepper, _known: Sequence[Stepper]) -> None:
        """A step is over."""
        pieces = self._known.setdefault(id(one), _Pieces())
        pieces.counts.append(self.count(one))
        pieces.last = pieces.places[-1] if pieces.places else None
        pieces.places.clear()
        if len(pieces.counts) == _ENOUGH and min(pieces.counts) > 1:
            self.tell(one, min(pieces.counts), pieces.last)

    def ended(self, known: Sequence[Stepper]) -> None:
        """Of a script that made few steps, or was stopped at one."""
        for one in known:
            pieces = self._known.get(id(one))
            if pieces is None or one.optimizer is None or len(pieces.counts) >= _ENOUGH:
                continue
            counts = [*pieces.counts, self.count(one)] if pieces.places else pieces.counts
            if counts and min(counts) > 1:
                self.tell(one, min(counts), self.last(one) or pieces.last)

    def tell(self, one: Stepper, count: int, place: Where | None) -> None:
        """Report it, once."""
        if id(one) in self._told or not isinstance(one.optimizer, torch.optim.SGD):
            return  # others divide by the gradient's own size
        self._told.add(id(one))
        rate = float(one.optimizer.param_groups[0]["lr"])
        values = {"optimizer": one.name, "count": count, "rate": rate}
        self.report(one, "accumulation_undivided", place, values)

    def _divided(self, loss: Any) -> bool:
        node = getattr(loss, "grad_fn", None)
        if node is not None and node is self._scaled:
            node = node.next_functions[0][0]
        return type(node).__name__.startswith(_SCALING)
