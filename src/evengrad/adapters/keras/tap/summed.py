"""Gradients that a loop on TensorFlow sums up: lists that are never emptied, sums that nobody divides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.facts.lines import line
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.called import Calls
from evengrad.adapters.keras.tap.listening import Applied
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.values.fact import Fact, Where

_ENOUGH = 3  # steps in a row
_FIRST = 8  # steps that are looked at
_LOOKED_AT = 3  # tensors, the smallest
_PARALLEL, _APART = (
    1 - 1e-8,
    1 - 1e-4,
)  # of cosines: the same up to rounding, surely not the same (choices)
_ALIKE = (0.75, 1.5)  # of a loss over what its function gave, with its penalties (a choice)


@dataclass(frozen=True, slots=True, eq=False)
class _TapePass:
    """One differentiation that has values. divided: its loss was, or it is not known whether."""

    gradients: dict[int, Any]
    place: Where | None
    divided: bool


@dataclass(slots=True, eq=False)
class _GivenSums:
    """One optimizer: what it was given last, how often that was the sum of all so far, and of how many."""

    optimizer: Any
    chosen: list[Any]
    last: Any = None
    ratio: float | None = None
    carried: int = 0
    steps: int = 0
    counts: list[int] = field(default_factory=list)
    place: Where | None = None


class SummedGradients:
    """Compares what an optimizer is given with what the tapes gave, where both have values.

    Args:
        calls: of losses since the last step.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._known: dict[int, _GivenSums] = {}
        self._passes: list[_TapePass] = []

    def differentiated(self, event: Differentiated) -> None:
        """A tape gave gradients."""
        if self._known and all(one.steps >= _FIRST for one in self._known.values()):
            return
        pairs = zip(event.sources, event.gradients, strict=False)
        found = {id(s): g for s, g in pairs if g is not None}
        if found and len(self._passes) < 256 and all(map(native.has_value, found.values())):
            self._passes.append(_TapePass(found, line(), not self._undivided(event.target)))

    def applied(self, event: Applied) -> Iterator[Fact]:
        """A step."""
        passes, self._passes = self._passes, []
        pairs = [
            (v, g) for v, g in zip(event.variables, event.gradients, strict=False) if g is not None
        ]
        one = self._known.get(id(event.optimizer))
        if one is None:
            one = _GivenSums(event.optimizer, _smallest(v for v, _ in pairs))
            self._known[id(event.optimizer)] = one
        one.steps += 1
        given = {id(v): g for v, g in pairs}
        own = [p for p in passes if all(id(v) in p.gradients for v in one.chosen)]
        whole = all(id(v) in given and native.has_value(given[id(v)]) for v in one.chosen)
        if one.steps > _FIRST or not own or not one.chosen or not whole:
            return
        total = _flat([given[id(v)] for v in one.chosen])
        made = sum(_flat([p.gradients[id(v)] for v in one.chosen]) for p in own)
        self._carry(one, total, made)
        one.counts.append(_count(own, total, made))
        one.place = own[-1].place
        if one.carried == _ENOUGH:
            yield kept_fact(event.optimizer, own[-1].place, one.carried)

    def ended(self) -> Iterator[tuple[Any, Fact]]:
        """Of a script that made few steps, or was stopped at one."""
        for one in self._known.values():
            if one.counts and min(one.counts) > 1:
                for fact in undivided_fact(one.optimizer, one.place, min(one.counts)):
                    yield one.optimizer, fact

    def _carry(self, one: _GivenSums, total: Any, made: Any) -> None:
        """Whether this is what was given last, and what was made since."""
        last, one.last = one.last, total
        if last is None:
            return
        more = total - last
        ratio = float(np.linalg.norm(more)) / max(float(np.linalg.norm(made)), 1e-30)
        same = one.ratio is None or abs(ratio - one.ratio) <= 1e-3 * one.ratio
        kept = _cosine(more, made) > _PARALLEL and _cosine(total, made) < _APART
        one.carried = one.carried + 1 if kept and same else 0
        one.ratio = ratio

    def _undivided(self, target: Any) -> bool:
        if isinstance(target, list | tuple | dict) or not native.has_value(target):
            return False
        value = native.number(target)
        heard = [native.number(loss.value) for loss in self._calls.losses[-1:]]
        return any(known and _ALIKE[0] < value / known < _ALIKE[1] for known in heard)


def kept_fact(optimizer: Any, place: Where | None, steps: int, *, variables: bool = False) -> Fact:
    """Gradients that were used and are added to. variables: of the script's own, on TensorFlow."""
    inner = unscaled(optimizer)
    values = {
        "how": "kept",
        "optimizer": type(inner).__name__,
        "steps": steps,
        "backward": str(place or ""),
        "zeroed": "",
        "variables": variables,
    }
    return Fact("gradients_kept", place, None, values)


def undivided_fact(optimizer: Any, place: Where | None, count: int) -> Iterator[Fact]:
    """Sums of so many means; of interest for an optimizer that does not divide by their size."""
    inner = unscaled(optimizer)
    if isinstance(inner, keras.optimizers.SGD):
        with native.outside():
            rate = float(keras.ops.convert_to_numpy(inner.learning_rate))
        values = {"optimizer": type(inner).__name__, "count": count, "rate": rate}
        yield Fact("accumulation_undivided", place, None, values)


def _smallest(variables: Any) -> list[Any]:
    known = sorted((int(np.prod(tuple(v.shape))), i, v) for i, v in enumerate(variables))
    return [v for size, _, v in known if size > 1][:_LOOKED_AT]


def _flat(tensors: Sequence[Any]) -> Any:
    arrays = [keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(t)) for t in tensors]
    return np.concatenate([np.asarray(a, np.float64).ravel() for a in arrays])


def _cosine(one: Any, other: Any) -> float:
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / size if size else 0.0


def _count(own: list[_TapePass], total: Any, made: Any) -> int:
    """How many losses of one line are in the gradients that nobody divided, neither the losses nor the sum."""
    lines = {p.place for p in own}
    if len(lines) != 1 or None in lines or any(p.divided for p in own):
        return 1
    return len(own) if np.allclose(total, made, rtol=1e-3, atol=1e-6 * np.abs(made).max()) else 1
