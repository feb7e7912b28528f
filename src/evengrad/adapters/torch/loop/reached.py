"""Optimizers whose weights no gradient reaches, and where its way to them is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.loop.cuts import Cut, CutHearer
from evengrad.adapters.torch.loop.names import models_of, name_of
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
    own: ids of its weights; part: the cut before some of them, their names, and they with some of their values.
    """

    reached: bool = False
    steps: int = 0
    made: list[Where | None] = field(default_factory=list)
    last: Where | None = None
    lost: Where | None = None
    none: bool = True
    names: str = ""
    own: frozenset[int] = frozenset()
    part: tuple[Cut, list[str], list[tuple[Any, Any]]] | None = None


class Reaching(Watcher):
    """Sees for each optimizer whether any step of it has a gradient.

    Args:
        report: takes what was seen.
        meant: whether a module is meant not to be trained.
    """

    def __init__(self, report: Report, meant: Callable[[Any], bool]) -> None:
        super().__init__(report)
        self._meant = meant
        self._ways: dict[int, _Way] = {}
        self._hearer = CutHearer()
        self._cuts: list[Cut] = []
        self._roots: set[int] = set()  # leaves that some loss has reached
        self._told: set[int] = set()
        self._backwards = False
        self._leaf = False  # a loss has no history at all

    def made(self, _one: Stepper) -> None:
        """Hear the calls of its first steps."""
        self._hearer.start()

    def backward_begins(self, loss: Any, _known: Sequence[Stepper]) -> None:
        """Which cuts lie before it."""
        if isinstance(loss, torch.Tensor) and not loss.requires_grad:
            self._dead_end(loss, _known)
        elif isinstance(loss, torch.Tensor):
            self._roots |= leaves([loss])
            self._leaf |= loss.grad_fn is None
            self._cuts += [cut for cut in self._hearer.before(loss) if cut not in self._cuts]

    def backward_ended(self, _loss: Any, known: Sequence[Stepper]) -> None:
        """Whom it has reached."""
        self._backwards = True
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
            if way.part is not None or one.steps == _HEARD:
                way.steps += 1
                self._see_parts(one, way)
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
        for one in known:
            way = self._ways.get(id(one))
            if way is not None and way.part is not None and one.optimizer is not None:
                self._tell_part(one, way)

    def only(self, one: Stepper) -> None:
        """Judge by the step that is about to be made, alone."""
        way = self._ways.setdefault(id(one), _Way())
        way.names, way.own = _models(one), frozenset(id(p) for p in one.parameters)
        if not self._backwards:
            return
        if sharded(one.parameters):
            return
        now = gradients(one.parameters)
        flat = any(cut.flat and cut.behind & way.own for cut in self._ends)
        if not way.made and (not now or (flat and not any(now.values()))):
            way.steps, way.lost = 1, way.last
        else:
            way.reached = True
            self._see_parts(one, way)

    def close(self) -> None:
        """Hear no more."""
        self._hearer.stop()

    # --- inside ----------------------------------------------------------------------------------

    def _dead_end(self, loss: Any, known: Sequence[Stepper]) -> None:
        """A loss without any gradient: torch is about to raise its error."""
        behind = self._hearer.before(loss)
        ends = [*reversed(behind), *reversed(self._hearer.left)]
        for one in known:
            own = {id(p) for p in one.parameters}
            cut = next((c for c in ends if c.behind & own), None)
            if cut is None or id(one) in self._told:
                continue
            self._told.add(id(one))
            values = {
                "optimizer": one.name,
                "model": _models(one),
                "steps": 0,
                "backward": str(where() or ""),
                "made": str(one.made or ""),
                "none": True,
                "kind": cut.kind,
                "cut": str(cut.place or ""),
                "part": False,
            }
            self.report(one, "weights_unreached", cut.place or where(), values)

    def _lost(self, one: Stepper) -> bool:
        way = self._ways.get(id(one))
        if way is None or way.reached or id(one) in self._told or not self._backwards:
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
        cut = next((c for c in self._ends if c.behind & way.own), None)
        values |= {
            "none": way.none,
            "kind": "" if cut is None else cut.kind,
            "cut": "" if cut is None else str(cut.place or ""),
            "flat": cut is not None and cut.flat,
        }
        if self._leaf and (
            cut is None or cut in self._hearer.left
        ):  # made anew in a way that is not heard
            values |= {"kind": "new", "cut": values["backward"]}
            cut = None
        place = cut.place if cut is not None and cut.place is not None else way.lost
        self.report(one, "weights_unreached", place, values | {"part": False})

    # --- some of an optimizer's weights -----------------------------------------------------------

    @property
    def _ends(self) -> list[Cut]:
        """Cuts before a loss, then the values that left torch; of each the last one, nearest to it, first."""
        return [*reversed(self._cuts), *reversed(self._hearer.left)]

    def _see_parts(self, one: Stepper, way: _Way) -> None:
        """Weights that no loss has reached, though what was made of them was cut off or left torch."""
        alive = [p for p in one.parameters if p.requires_grad and p.grad is None]
        lost = {id(p): p for p in alive if id(p) not in self._roots}
        cut = next((c for c in self._ends if any(i in lost for i in c.behind)), None)
        way.part = None
        if cut is None:
            return
        own = [lost[i] for i in cut.behind if i in lost]
        names = _parts(own, self._meant)
        if names and any(p.ndim >= 2 for p in own):
            way.part = cut, names, [(p, p.detach().reshape(-1)[:64].clone()) for p in own]

    def _tell_part(self, one: Stepper, way: _Way) -> None:
        assert way.part is not None
        cut, names, kept = way.part
        unmoved = all(torch.equal(p.detach().reshape(-1)[:64], v) for p, v in kept)
        if id(one) in self._told or not unmoved or any(p.grad is not None for p, _ in kept):
            return
        self._told.add(id(one))
        total = sum(p.numel() for p in one.parameters) or 1
        values = {
            "optimizer": one.name,
            "model": ", ".join(names),
            "steps": max(way.steps, 1),
            "backward": str(way.last or ""),
            "made": str(one.made or ""),
            "none": True,
            "kind": cut.kind,
            "cut": str(cut.place or ""),
            "part": True,
            "share": sum(p.numel() for p, _ in kept) / total,
        }
        self.report(one, "weights_unreached", cut.place or way.last, values)


def _models(one: Stepper) -> str:
    """The user's names of the models that an optimizer trains."""
    return ", ".join(name or kind for name, kind in models_of(one.parameters))


def _parts(lost: Sequence[Any], meant: Callable[[Any], bool]) -> list[str]:
    """The user's names of the models, or of the parts of one, all of whose weights are among these."""
    ids = {id(p) for p in lost}

    def whole(module: Any) -> bool:
        own = [p for p in module.parameters() if p.requires_grad]
        return bool(own) and all(id(p) in ids for p in own) and not meant(module)

    found = []
    for root in find_roots(lost):
        if whole(root):
            found.append(name_of(root) or type(root).__name__)
        else:
            found += [name for name, child in root.named_children() if whole(child)]
    return found[:4]
