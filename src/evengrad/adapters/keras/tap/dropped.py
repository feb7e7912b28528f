"""Moving statistics that a loop on JAX learns and drops: each step begins with those of the start."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

from keras import ops

from evengrad.adapters.keras.tap import native
from evengrad.values.fact import Fact, Where

_ENOUGH = 8  # training calls in a row, in more than which no loop leaves them as they were made

_MOST = 4  # layers that are asked: each costs its step a call of the host


class Dropped:
    """Told by the compiled step itself with what statistics a normalisation was called in training.

    Args:
        tell: given the fact, once, in the thread that brings values to the host.
    """

    def __init__(self, tell: Callable[[Fact], None]) -> None:
        self._tell = tell
        self._lock = Lock()
        self._layers: dict[str, tuple[float, Where | None]] = {}
        self._asked: set[str] = set()
        self._fresh: dict[str, int] = {}
        self._moved: set[str] = set()
        self._told = False

    def called(self, layer: Any, place: Where | None) -> None:
        """Inside a step that is being compiled."""
        mean, variance = layer.moving_mean.value, layer.moving_variance.value
        if self._told or native.has_value(mean):
            return
        name = layer.path
        self._layers[name] = (float(layer.momentum), place)
        if len(self._asked) < _MOST:
            self._asked.add(name)
        if name not in self._asked:
            return
        fresh = ops.logical_and(ops.all(ops.equal(mean, 0)), ops.all(ops.equal(variance, 1)))
        native.bring(fresh, lambda value: self._arrived(name, bool(value)))

    def _arrived(self, name: str, fresh: bool) -> None:
        with self._lock:
            self._fresh[name] = self._fresh.get(name, 0) + 1
            if not fresh:
                self._moved.add(name)
            if self._told or self._fresh[name] < _ENOUGH or name in self._moved:
                return
            self._told = True
        momentum, place = self._layers[name]
        names = [p.rpartition("/")[2] for p in self._layers if p not in self._moved]
        values = {"problem": "dropped", "layers": names, "momentum": momentum}
        self._tell(Fact("statistics_unused", place, None, values))
