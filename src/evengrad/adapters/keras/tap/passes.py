"""How many losses a loop of Keras on PyTorch sums up in its gradients for each step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from evengrad.adapters.keras.facts.lines import line
from evengrad.adapters.keras.tap.listening import Applied
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.adapters.keras.tap.summed import undivided_fact
from evengrad.values.fact import Fact, Where

_FIRST = 10  # steps that are looked at
_SCALING = ("DivBackward", "MulBackward")


@dataclass(slots=True, eq=False)
class _Counted:
    """One optimizer, and the numbers of undivided losses of one line in its steps."""

    optimizer: Any
    counts: list[int] = field(default_factory=list)


class Passes:
    """Counts the backward passes of one line to each step."""

    def __init__(self) -> None:
        self._known: dict[int, _Counted] = {}
        self._passes: list[
            tuple[Where | None, bool]
        ] = []  # lines, and whether the loss was divided
        self._backward: Where | None = None

    def differentiated(self, event: Differentiated) -> None:
        """A backward pass begins."""
        over = all(len(one.counts) >= _FIRST for one in self._known.values())
        if not (self._known and over) and hasattr(event.target, "grad_fn"):
            node = type(event.target.grad_fn).__name__
            self._backward = line()
            self._passes.append((self._backward, node.startswith(_SCALING)))

    def applied(self, event: Applied) -> Iterator[Fact]:
        """A step on what is in the weights."""
        passes, self._passes = self._passes, []
        pairs = zip(event.variables, event.gradients, strict=False)
        if all(g is None or g is v.value.grad for v, g in pairs):
            one = self._known.setdefault(id(event.optimizer), _Counted(event.optimizer))
            one.counts.append(_count(passes))
        yield from ()

    def ended(self) -> Iterator[tuple[Any, Fact]]:
        """Sums of several losses to each step."""
        for one in self._known.values():
            first = one.counts[:_FIRST]
            if min(first) > 1:
                for fact in undivided_fact(one.optimizer, self._backward, min(first)):
                    yield one.optimizer, fact


def _count(passes: list[tuple[Where | None, bool]]) -> int:
    """How many losses of one line there were that nobody divided."""
    lines = {place for place, _ in passes}
    if len(lines) != 1 or None in lines or any(divided for _, divided in passes):
        return 1
    return len(passes)
