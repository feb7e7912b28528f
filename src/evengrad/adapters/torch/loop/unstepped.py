"""Optimizers that are never stepped, though backward passes reach their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from evengrad.adapters.common.source import where
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
    """One that has not stepped. optimizer: kept alive, for the script's function may be over at the end."""

    optimizer: Any
    values: list[tuple[Any, Any]]
    place: Where | None
    passes: int = 0


class Unstepped(Watcher):
    """Counts the backward passes until an optimizer's first step."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._idle: dict[int, _Idle] = {}
        self._moved: set[int] = set()

    def begun(self, optimizer: Any) -> None:
        """It steps, or a scaler is asked to step it: nothing more to find."""
        self._moved.add(id(optimizer))
        self._idle.pop(id(optimizer), None)

    def backward_ended(self, _loss: Any, known: Sequence[Stepper]) -> None:
        """Whose gradients are there."""
        for one in known:
            key = id(one.optimizer)
            if one.steps or key in self._moved or sharded(one.parameters):
                continue
            if key in self._idle:
                self._idle[key].passes += 1
            elif any(gradients(one.parameters).values()):
                self._idle[key] = _Idle(one.optimizer, _samples(one.parameters), where(), 1)

    def step_begins(self, one: Stepper) -> None:
        """Its own first one; and others' weights that it holds, too, are moved from now on."""
        self.begun(one.optimizer)
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
                self.report(one, "never_stepped", idle.place, values)
        self._idle.clear()


def _samples(parameters: Sequence[Any]) -> list[tuple[Any, Any]]:
    return [(p, beginning(p)) for p in parameters if p.grad is not None]
