"""Optimizers whose weights no gradient reaches, and where its way to them is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.loop.cuts import Cut, CutHearer
from evengrad.adapters.torch.loop.names import name_of
from evengrad.adapters.torch.loop.stepper import Report, Stepper, Watcher, gradients, sharded
from evengrad.adapters.torch.tap.models import find_roots
from evengrad.adapters.torch.tap.routes import leaves
from evengrad.values.fact import Where

_ENOUGH = 3  # steps
_HEARD = 2  # steps of each optimizer in which every call is heard


@dataclass
class _Way:
    """What reaches one optimizer. made: lines whose backward did; lost: the last line whose backward came
    before a step and did not; none: there was no gradient at all, not even one of zeros; names: of its models;
    own: ids of its weights.
    """

    reached: bool = False
    steps: int = 0
    made: list[Where | None] = field(default_factory=list)
    last: Where | None = None
    lost: Where | None = None
    none: bool = True
    names: str = ""
    own: frozenset[int] = frozenset()


class Reaching(Watcher):
    """Sees for each optimizer whether any step of it has a gradient."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._ways: dict[int, _Way] = {}
        self._hearer = CutHearer()
        self._cuts: list[Cut] = []
        self._roots: set[int] = set()  # leaves that some loss has reached
        self._told: set[int] = set()

    def made(self, _one: Stepper) -> None:
        """Hear the calls of its first steps."""
        self._hearer.start()

    def backward_begins(self, loss: Any, _known: Sequence[Stepper]) -> None:
        """Which cuts lie before it."""
        if getattr(loss, "requires_grad", False):
            self._roots |= leaves([loss])
            self._cuts += [cut for cut in self._hearer.before(loss) if cut not in self._cuts]

    def backward_ended(self, _loss: Any, known: Sequence[Stepper]) -> None:
        """Whom it has reached."""
        place = where()
        for one in known:
            way = self._ways.setdefault(id(one), _Way())
            if way.reached or sharded(one.parameters):
                continue
            now = gradients(one.parameters)
            way.none = way.none and not now
            if any(now.values()):
                way.made = [*way.made[-7:], place]
            way.last = place

    def stepped(self, one: Stepper, known: Sequence[Stepper]) -> None:
        """Whether this step had a gradient."""
        way = self._ways.setdefault(id(one), _Way())
        if way.reached:
            pass
        elif sharded(one.parameters) or any(gradients(one.parameters).values()):
            way.reached = True
        else:
            way.steps += 1
            way.lost = way.last
            way.names = way.names or _models(one)
            way.own = frozenset(id(p) for p in one.parameters)
        self._hearer.forget()
        if all(other.steps >= _HEARD for other in known if other.steps):
            self._hearer.stop()

    def ended(self, known: Sequence[Stepper]) -> None:
        """Those whom none has reached."""
        self._hearer.stop()
        lost = [one for one in known if self._lost(one)]
        for one in lost:
            self._tell(one, lost)

    def only(self, one: Stepper) -> None:
        """Judge by the step that is about to be made, alone."""
        way = self._ways.setdefault(id(one), _Way())
        way.names, way.own = _models(one), frozenset(id(p) for p in one.parameters)
        if not gradients(one.parameters) and not way.made and not sharded(one.parameters):
            way.steps, way.lost = _ENOUGH, way.last

    def close(self) -> None:
        """Hear no more."""
        self._hearer.stop()

    # --- inside ----------------------------------------------------------------------------------

    def _lost(self, one: Stepper) -> bool:
        way = self._ways.get(id(one))
        if way is None or way.reached or id(one) in self._told:
            return False
        if way.steps < min(_ENOUGH, one.steps) or not way.steps:
            return False
        return not any(gradients(one.parameters).values()) or bool(way.made)

    def _tell(self, one: Stepper, lost: Sequence[Stepper]) -> None:
        way = self._ways[id(one)]
        self._told.add(id(one))
        values: dict[str, Any] = {
            "optimizer": one.name,
            "model": way.names,
            "steps": way.steps,
            "backward": str(way.lost or ""),
            "made": str(one.made or ""),
        }
        if way.made:
            if way.made[-1] != way.lost:  # else it was there, and was emptied: another mistake
                values |= {"wiped": str(way.made[-1] or "")}
                values |= {"others": [other.name for other in lost if other is not one]}
                self.report(one, "losses_crossed", way.lost, values)
            return
        cut = next((c for c in self._cuts if c.behind & way.own), None)
        left = self._hearer.left
        if cut is None and left is not None and left.behind & way.own:
            cut = left
        values |= {
            "none": way.none,
            "kind": "" if cut is None else cut.kind,
            "cut": "" if cut is None else str(cut.place or ""),
        }
        place = cut.place if cut is not None and cut.place is not None else way.lost
        self.report(one, "weights_unreached", place, values)


def _models(one: Stepper) -> str:
    """The user's names of the models that an optimizer trains."""
    roots = find_roots(one.parameters)
    return ", ".join(name_of(root) or type(root).__name__ for root in roots[:3])
