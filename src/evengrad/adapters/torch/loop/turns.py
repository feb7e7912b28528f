"""The trainings of a script: each optimizer's, from its first step on."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Container, Iterator
from dataclasses import replace
from typing import Any

import torch

from evengrad.adapters.common.ahead import ahead, called
from evengrad.adapters.common.sessions import Session
from evengrad.adapters.common.source import where
from evengrad.adapters.torch.loop.names import name_of, shown
from evengrad.adapters.torch.loop.stepper import Stepper
from evengrad.adapters.torch.tap.models import find_roots
from evengrad.values.fact import Fact, Where
from evengrad.values.probe import Probe, Turn


class OptimizerTurns:
    """Whose turn it is, of the optimizers of a script: the first step of each is a training.

    Args:
        session: to report to.
        patience: steps without a loss of its own after which one is waited for no more.

    Attributes:
        begun: whether one was measured already, or let by.
        steps: those of optimizers that are done with, since the recorder listens.
    """

    def __init__(self, session: Session, patience: int) -> None:
        self.begun = False
        self.steps = 0
        self._session, self._patience = session, patience
        self._line: Where | None = None
        self._waiting = weakref.WeakSet[Any]()
        self._done = weakref.WeakKeyDictionary[Any, int]()
        self._places = weakref.WeakKeyDictionary[Any, Where | None]()
        self._missed = weakref.WeakKeyDictionary[Any, int]()

    def made(self, optimizer: torch.optim.Optimizer) -> bool:
        """One more. Returns whether to listen for its training."""
        if not self._session.several:
            return False
        self._waiting.add(optimizer)
        self._places[optimizer] = where()
        known = {cls.__name__ for cls in _kinds(torch.optim.Optimizer)}
        self._line = ahead(sys._getframe(1), lambda call, _: called(call) in known)
        return self.begun

    @property
    def taken(self) -> bool:
        """Whether the training was measured that goes on now, by the adapter of Keras."""
        if self._session.several and self._session.measured and not self.begun:
            self.begun = True
            return True
        return False

    @property
    def ahead(self) -> Where | None:
        """The line that makes one that is to come; None where there is none."""
        waiting = (self._places.get(one) for one in self._waiting)
        return next((place for place in waiting if place is not None), self._line)

    def wanted(self, optimizer: torch.optim.Optimizer) -> bool:
        """Its first step comes: whether to measure it."""
        self._waiting.discard(optimizer)
        if not self._session.several or self._session.wanted():
            return True
        self.begun, self._done[optimizer] = True, -1
        return False

    def over(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether this one is done with."""
        if optimizer not in self._done:
            return False
        self.steps += 1
        return True

    def missed(self, optimizer: torch.optim.Optimizer) -> bool:
        """A step of it came without a loss of its own. Whether to wait for it no more."""
        self._missed[optimizer] = self._missed.get(optimizer, 0) + 1
        return self._missed[optimizer] >= self._patience

    def awaits(self, reached: Container[int]) -> bool:
        """Whether one that is to come holds any of these weights, by id."""
        return any(holds(one, reached) for one in self._waiting)

    def holder(self, reached: Container[int]) -> torch.optim.Optimizer | None:
        """The one that is to come and holds any of these weights, by id, where others were before it."""
        if not self.begun:
            return None
        return next((one for one in self._waiting if holds(one, reached)), None)

    def place(self, optimizer: torch.optim.Optimizer) -> Where | None:
        """The line that makes it."""
        return self._places.get(optimizer)

    def named(self, probe: Probe, optimizer: torch.optim.Optimizer | None) -> Probe:
        """With the user's own names."""
        if optimizer is None:
            return probe
        name = f"{', '.join(self.models(optimizer)) or probe.model} by {shown(optimizer)}"
        return replace(probe, training=Turn(1, name, self._places.get(optimizer)))

    def models(self, optimizer: torch.optim.Optimizer) -> list[str]:
        """The user's names of what it trains."""
        own = [p for group in optimizer.param_groups for p in group["params"]]
        return [name_of(root) or type(root).__name__ for root in find_roots(own)[:3]]

    def keep(self, optimizer: torch.optim.Optimizer, probe: Probe) -> None:
        """Measured; the script goes on."""
        self._done[optimizer] = self._session.keep(probe, self.ahead)
        self.begun, self.steps = True, 0

    def add(self, one: Stepper | None, fact: Fact) -> bool:
        """A fact of one that was measured already. Returns whether it is."""
        optimizer = None if one is None else one.optimizer
        place = -1 if optimizer is None else self._done.get(optimizer, -1)
        if place >= 0 and fact.kind != "accumulation_undivided":
            self._session.add(place, [fact])
        return place >= 0


def holds(optimizer: torch.optim.Optimizer, reached: Container[int]) -> bool:
    """Whether any of its parameters is among these, by id."""
    return any(id(p) in reached for group in optimizer.param_groups for p in group["params"])


def _kinds(cls: type[Any]) -> Iterator[type[Any]]:
    for one in cls.__subclasses__():
        yield one
        yield from _kinds(one)
