"""One optimizer in its first steps, as those who look for mistakes in a loop know it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.loop.names import name_of
from evengrad.adapters.torch.tap.reading import as_host, norms
from evengrad.values.fact import Where

_BEGINNING = 64


class Stepper:
    """An optimizer that the script has made.

    Args:
        optimizer: held weakly.
        stamp: how many modules had been made before it.

    Attributes:
        made: the line where that was.
        steps: that it has made.
    """

    def __init__(self, optimizer: Any, stamp: int) -> None:
        self._ref = weakref.ref(optimizer)
        self._kind = type(optimizer).__name__
        self._name: str | None = None
        self.stamp = stamp
        self.made = where()
        self.steps = 0

    @property
    def optimizer(self) -> Any:
        """None when it is gone."""
        return self._ref()

    @property
    def parameters(self) -> list[Any]:
        """What it holds now."""
        optimizer = self._ref()
        if optimizer is None:
            return []
        return [p for group in optimizer.param_groups for p in group["params"]]

    @property
    def name(self) -> str:
        """The user's variable, or the class."""
        self.look_up()
        return self._name or self._kind

    def look_up(self) -> None:
        """While the user's frame is at hand."""
        if self._name is None and (optimizer := self._ref()) is not None:
            self._name = name_of(optimizer)


Report = Callable[[Stepper | None, str, Where | None, dict[str, Any]], None]
"""Takes what was seen: of which optimizer, and the kind, place and values of a ``Fact``."""


class Watcher:
    """One who looks for a mistake; told of what the loop does, in its order."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def made(self, one: Stepper) -> None:
        """An optimizer was."""

    def backward_begins(self, loss: Any, known: Sequence[Stepper]) -> None:
        """At a loss."""

    def backward_ended(self, loss: Any, known: Sequence[Stepper]) -> None:
        """And the gradients are there."""

    def zeroed(self, whose: Sequence[Stepper]) -> None:
        """By an optimizer's or a module's ``zero_grad``, after it. whose: the optimizers that hold those."""

    def step_begins(self, one: Stepper) -> None:
        """With the gradients that it will use; those of a closure are not there yet."""

    def stepped(self, one: Stepper, known: Sequence[Stepper]) -> None:
        """The weights are moved; the gradients are still there."""

    def ended(self, known: Sequence[Stepper]) -> None:
        """Of the script, or of what is looked at."""


def gradients(parameters: Sequence[Any]) -> dict[int, float]:
    """Norm of each gradient by parameter id, those that are there; by one read."""
    own = [p for p in parameters if p.grad is not None]
    if not own:
        return {}
    with torch.no_grad():
        found = as_host(norms([p.grad for p in own]))
    return {id(p): float(value) for p, value in zip(own, found, strict=True)}


def beginning(tensor: Any) -> Any:
    """A copy of its first 64 elements as they are now, to see later whether it was moved."""
    return tensor.detach().reshape(-1)[:_BEGINNING].clone()


def sharded(parameters: Sequence[Any]) -> bool:
    """Whether reading them takes every process."""
    return any(hasattr(p, "full_tensor") for p in parameters)
