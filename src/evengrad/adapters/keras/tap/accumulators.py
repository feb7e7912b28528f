"""Gradients that a step on TensorFlow sums up in variables: that are never emptied, or that nobody divides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import keras

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.source import is_own
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.facts.graphs import is_read
from evengrad.adapters.keras.facts.lines import line
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.listening import Applied
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.adapters.keras.tap.summed import kept_fact, undivided_fact
from evengrad.values.fact import Fact, Where

_ENOUGH = 3  # steps
_LOOKED_AT = 4  # steps that the calls are counted of
_SAME = ("Identity", "Cast")
_DIVIDES = ("RealDiv", "Mul", "DivNoNan")


@dataclass(slots=True, eq=False)
class _VariableSum:
    """Variables that one optimizer is given the sums of.

    Attributes:
        optimizer: it.
        own: their ids.
        divided: somebody divides.
        place: where the gradients are made.
        before: steps of the optimizer when it was first met.
        calls: of what adds to them, since its last step.
        counts: of such calls, for each of its first steps.
    """

    optimizer: Any
    own: set[int]
    divided: bool
    place: Where | None
    before: int
    calls: int = 0
    counts: list[int] = field(default_factory=list)


class VariableSums:
    """Follows gradients into ``assign_add`` and out of the variable to the step, while they are traced.

    Args:
        patches: to be undone at the end.
    """

    def __init__(self, patches: Patches) -> None:
        self._gradients: dict[int, Any] = {}
        self._scaled = False
        self._added: dict[int, tuple[Any, bool, Where | None]] = {}
        self._emptied: set[int] = set()
        self._sums: list[_VariableSum] = []
        for name in ("assign", "assign_add", "assign_sub"):
            kind = native.variable_class(name)
            if kind is not None:
                patches.wrap(kind, name, self._adding if name == "assign_add" else self._setting)
                compat.leave_unconverted(vars(kind)[name])

    def differentiated(self, event: Differentiated) -> None:
        """Gradients that may be added up, of a loss that may be divided."""
        self._gradients |= {id(g): g for g in event.gradients if g is not None}
        self._scaled = _traced(event.target) and _divides(event.target.op)

    def applied(self, event: Applied) -> None:
        """Whether a step takes such sums."""
        found = [
            (variable, divided)
            for g in event.gradients
            if g is not None and (variable := self._summed(g)) is not None
            for divided in [self._is_divided(g, variable)]
        ]
        self._gradients.clear()
        known = any(one.optimizer is event.optimizer for one in self._sums)
        if not found or known or 2 * len(found) < len(event.variables):
            return
        place = self._added[id(found[0][0])][2]
        own = {id(variable) for variable, _ in found}
        divided = any(divided for _, divided in found)
        steps = _steps(event.optimizer)
        self._sums.append(_VariableSum(event.optimizer, own, divided, place, steps))

    def called(self) -> None:
        """A compiled function was called from outside."""
        for one in self._sums:
            if len(one.counts) < _LOOKED_AT:
                one.calls += 1
                if _steps(one.optimizer) > one.before + len(one.counts):
                    one.counts.append(one.calls)
                    one.calls = 0

    def ended(self) -> Iterator[tuple[Any, Fact]]:
        """What came of it."""
        for one in self._sums:
            steps = _steps(one.optimizer) - one.before
            if steps >= _ENOUGH and not one.own & self._emptied:
                yield one.optimizer, kept_fact(one.optimizer, one.place, steps, variables=True)
            elif not one.divided and (count := min(one.counts or [one.calls])) > 1:
                for fact in undivided_fact(one.optimizer, one.place, count):
                    yield one.optimizer, fact

    # --- variables -------------------------------------------------------------------------------

    def _adding(self, original: Any) -> Any:
        @wraps(original)
        def assign_add(variable: Any, delta: Any, *args: Any, **kwargs: Any) -> Any:
            made = _without_cast(delta)
            if id(made) in self._gradients:
                self._added[id(variable)] = (variable, self._scaled, line())
            elif (
                _traced(made)
                and _divides(made.op)
                and any(id(_without_cast(t)) in self._gradients for t in made.op.inputs)
            ):
                self._added[id(variable)] = (variable, True, line())
            return original(variable, delta, *args, **kwargs)

        return assign_add

    def _setting(self, original: Any) -> Any:
        @wraps(original)
        def assign(variable: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
            self._emptied.add(id(variable))
            return original(variable, value, *args, **kwargs)

        return assign

    def _summed(self, gradient: Any) -> Any:
        """The variable that it is read from, divided or not."""
        if id(gradient) in self._added:
            return gradient
        made = _without_cast(gradient)
        op = made.op if _traced(made) else None
        if op is not None and _divides(op):
            return next((v for t in op.inputs if (v := self._summed(t)) is not None), None)
        if op is None or op.type != "ReadVariableOp":
            return None
        return next((v for v, *_ in self._added.values() if is_read(op, v)), None)

    def _is_divided(self, gradient: Any, variable: Any) -> bool:
        made = _without_cast(gradient)
        return self._added[id(variable)][1] or (
            _traced(made) and id(gradient) not in self._added and _divides(made.op)
        )


def _traced(tensor: Any) -> bool:
    return not native.has_value(tensor) and hasattr(tensor, "op")


def _without_cast(tensor: Any) -> Any:
    while _traced(tensor) and tensor.op.type in _SAME and tensor.op.inputs:
        tensor = tensor.op.inputs[0]
    return tensor


def _divides(op: Any) -> bool:
    """Whether the script divides there, and not Keras in one of its means."""
    if op.type not in _DIVIDES:
        return False
    frames = list(op.traceback or ())
    return not frames or is_own(frames[-1].filename)


def _steps(optimizer: Any) -> int:
    with native.outside():
        return int(keras.ops.convert_to_numpy(optimizer.iterations))
