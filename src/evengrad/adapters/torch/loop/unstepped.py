"""Optimizers that are never stepped, though backward passes reach their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.loop.names import models_of
from evengrad.adapters.torch.loop.stepper import (
    Report,
    Stepper,
    Watcher,
    beginning,
    gradients,
    sharded,
)
from evengrad.values.fact import Where

_ENOUGH = 3  # backward passes; a training that accumulates more of them makes a step in the end


@dataclass
class _Idle:
    """One that has not stepped. optimizer: kept alive, for the script's function may be over at the end;
    models: that hold its weights, their names and classes;
    instead: another one's name and the line of its step, if that was the first step behind each pass.
    """

    optimizer: Any
    values: list[tuple[Any, Any]]
    place: Where | None
    models: list[tuple[str | None, str]]
    passes: int = 0
    instead: set[tuple[str, str]] = field(default_factory=set)


class Unstepped(Watcher):
    """Counts the backward passes until an optimizer's first step."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._idle: dict[int, _Idle] = {}
        self._moved: set[int] = set()
        self._last: Where | None = None  # the backward pass before
        self._waiting: list[_Idle] = []  # those whose gradients it made, until a step
        self._lines: dict[
            str, set[str]
        ] = {}  # optimizer -> the backward passes that it steps behind

    def begun(self, optimizer: Any) -> None:
        """It steps, or a scaler is asked to step it: nothing more to find."""
        self._moved.add(id(optimizer))
        self._idle.pop(id(optimizer), None)

    def backward_ended(self, _loss: Any, known: Sequence[Stepper]) -> None:
        """Whose gradients are there."""
        self._last = where()
        for one in known:
            key = id(one.optimizer)
            if one.steps or key in self._moved or sharded(one.parameters):
                continue
            if key in self._idle:
                self._idle[key].passes += 1
            elif any(gradients(one.parameters).values()):
                one.look_up()
                held = one.parameters
                known_as = one.optimizer, _samples(held), self._last, models_of(held)
                self._idle[key] = _Idle(*known_as, passes=1)
            else:
                continue
            if self._idle[key].place == self._last:
                self._waiting.append(self._idle[key])

    def step_begins(self, one: Stepper) -> None:
        """Its own first one; and others' weights that it holds, too, are moved from now on."""
        self.begun(one.optimizer)
        self._behind(one)
        if self._idle:
            held = set(map(id, one.parameters))
            for key, idle in list(self._idle.items()):
                if any(id(p) in held for p, _ in idle.values):
                    del self._idle[key]

    def ended(self, known: Sequence[Stepper]) -> None:
        """Those that never did, and whose weights nothing else has moved."""
        for one in known:
            idle = self._idle.get(id(one.optimizer))
            if one.steps or idle is None or idle.passes < _ENOUGH:
                continue
            if all(torch.equal(beginning(p), then) for p, then in idle.values):
                values = {"optimizer": one.name, "passes": idle.passes, "made": str(one.made or "")}
                values["models"] = idle.models
                self.report(one, "never_stepped", idle.place, values | self._instead(idle))
        self._idle.clear()

    def _behind(self, one: Stepper) -> None:
        """Whose gradients wait for a step while this one makes one."""
        self._lines.setdefault(one.name, set()).add(str(self._last))
        for idle in self._waiting:
            idle.instead.add((one.name, str(where() or "")))
        self._waiting.clear()

    def _instead(self, idle: _Idle) -> dict[str, str]:
        """The one that steps in its place: it has a loss of its own, too."""
        if len(idle.instead) != 1:
            return {}
        [(name, line)] = idle.instead
        return {"instead": name, "step": line} if len(self._lines[name]) > 1 else {}


def _samples(parameters: Sequence[Any]) -> list[tuple[Any, Any]]:
    return [(p, beginning(p)) for p in parameters if p.grad is not None]
