"""Outputs and targets that pair by broadcasting, in a loop that runs eagerly on TensorFlow."""

from __future__ import annotations

import logging
from functools import partial, wraps
from typing import Any

import keras

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.facts.lines import line
from evengrad.adapters.keras.facts.shapes import pairs
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.called import Calls
from evengrad.values.fact import Fact

log = logging.getLogger("evengrad")
_FIRST = 3  # steps that are looked at


class EagerPairs:
    """Looks at differences of which one side is what a model has just made.

    Args:
        calls: of models since the last step.
        patches: to be undone at the end.
    """

    def __init__(self, calls: Calls, patches: Patches) -> None:
        self._calls = calls
        self._found: list[Fact] = []
        self._steps = 0
        for place, name, shown in native.differences():
            patches.wrap(place, name, partial(self._comparing, shown))
            compat.leave_unconverted(vars(place)[name])

    def applied(self) -> tuple[Fact, ...]:
        """A step: what was found before it."""
        found, self._found = tuple(self._found), []
        self._steps += 1
        return found

    def _comparing(self, shown: str, original: Any) -> Any:
        @wraps(original)
        def compare(one: Any, other: Any, *args: Any, **kwargs: Any) -> Any:
            if self._steps < _FIRST and not self._found:
                try:
                    self._look(shown, one, other)
                except Exception as error:  # of our own: the difference is made all the same
                    log.info("a difference could not be looked at: %s", error)
                    self._steps = _FIRST
            return original(one, other, *args, **kwargs)

        return compare

    def _look(self, shown: str, one: Any, other: Any) -> None:
        first, second = _shape(one), _shape(other)
        if first is None or second is None or not pairs(first, second):
            return
        made = [leaf for call in self._calls.models for leaf in keras.tree.flatten(call.outputs)]
        ours = [any(side is leaf for leaf in made) for side in (one, other)]
        if ours[0] == ours[1]:
            return
        output, target = (first, second) if ours[0] else (second, first)
        size = max(*output, *target)
        values = {
            "function": shown,
            "output": output,
            "target": target,
            "result": [size, size],
            "first": ours[0],
        }
        self._found.append(Fact("shapes_broadcast", line(), None, values))


def _shape(value: Any) -> list[Any] | None:
    shape = getattr(value, "shape", None)
    if shape is None or getattr(shape, "rank", 0) is None or any(n is None for n in shape):
        return None
    return [int(n) for n in shape]
