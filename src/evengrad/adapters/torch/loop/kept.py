"""Gradients that are not set back before the next ones are added, or that are set back before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.loop.stepper import Report, Stepper, Watcher, gradients, sharded
from evengrad.values.fact import Where

_ENOUGH = 3  # steps in a row; two where the script makes no more
_LEAST = 2


@dataclass
class _Between:
    """What became of one optimizer's gradients since its last step.

    Attributes:
        left: norms as that step left them; None before the first one.
        kept: of those the ones that no one has touched; None until the next backward begins.
        reached: norms behind the last backward.
        backward: the line of that one.
        zeroed: the line of the last ``zero_grad`` behind it.
        carried: steps in a row that used kept gradients.
        emptied: steps in a row before which the gradients were set back.
    """

    left: dict[int, float] | None = None
    kept: dict[int, float] | None = None
    reached: dict[int, float] = field(default_factory=dict)
    backward: Where | None = None
    zeroed: Where | None = None
    carried: int = 0
    emptied: int = 0


class Zeroing(Watcher):
    """Compares the gradients after a step with those that the next backward pass finds."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._between: dict[int, _Between] = {}
        self._told: set[int] = set()

    def backward_begins(self, _loss: Any, known: Sequence[Stepper]) -> None:
        """What is there was kept, if it is what the step left."""
        for one in known:
            between = self._of(one)
            if between is None or not between.left:
                continue
            now = gradients(one.parameters)
            before = between.left if between.kept is None else between.kept
            between.kept = (
                {k: v for k, v in before.items() if v > 0 and now.get(k) == v}
                if between.kept is None
                else {k: v for k, v in before.items() if now.get(k, 0.0) > 0}
            )

    def backward_ended(self, _loss: Any, known: Sequence[Stepper]) -> None:
        """Where the gradients come from."""
        place = where()
        for one in known:
            between = self._of(one)
            if between is not None:
                reached = gradients(one.parameters)
                if any(reached.values()) and reached != between.reached:
                    between.backward, between.zeroed = place, None
                between.reached = reached

    def zeroed(self, whose: Sequence[Stepper]) -> None:
        """Remember the line."""
        place = where()
        for one in whose:
            if (between := self._between.get(id(one))) is not None:
                between.zeroed = between.zeroed or place

    def stepped(self, one: Stepper, _known: Sequence[Stepper]) -> None:
        """Judge the step."""
        between = self._of(one)
        if between is None:
            return
        left = gradients(one.parameters)
        emptied = any(between.reached.values()) and not any(left.values())
        between.emptied = between.emptied + 1 if emptied else 0
        between.carried = between.carried + 1 if between.kept and any(left.values()) else 0
        if between.left is None:
            between.carried = 0
        self._judge(one, between, _ENOUGH)
        between.left, between.kept, between.reached = left, None, {}

    def ended(self, known: Sequence[Stepper]) -> None:
        """Of a script that made few steps."""
        for one in known:
            between = self._between.get(id(one))
            if between is not None:
                self._judge(one, between, _LEAST)

    def empties(self, one: Stepper) -> bool:
        """Whether this optimizer is about to step on gradients that were there and are gone."""
        between = self._of(one)
        if between is None or not any(between.reached.values()):
            return False
        return not any(gradients(one.parameters).values())

    def tell_emptied(self, one: Stepper) -> None:
        """Report it."""
        between = self._between[id(one)]
        self._tell(one, between.zeroed or between.backward, "zeroed", between)

    def _judge(self, one: Stepper, between: _Between, enough: int) -> None:
        if between.carried >= enough and between.carried == one.steps - 1:
            self._tell(one, between.backward, "kept", between)
        elif between.emptied >= enough and between.emptied == one.steps:
            self.tell_emptied(one)

    def _tell(self, one: Stepper, place: Where | None, how: str, between: _Between) -> None:
        if id(one) in self._told:
            return
        self._told.add(id(one))
        values = {
            "how": how,
            "optimizer": one.name,
            "steps": max(between.carried, between.emptied, 1),
            "backward": str(between.backward or ""),
            "zeroed": str(between.zeroed or ""),
        }
        self.report(one, "gradients_kept", place, values)

    def _of(self, one: Stepper) -> _Between | None:
        if id(one) in self._told or sharded(one.parameters):
            return None
        return self._between.setdefault(id(one), _Between())
