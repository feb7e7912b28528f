"""Layers that a model calls and does not know of: it gives their weights to no optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any

import keras

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.source import where
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.facts.unheld import size_of, unheld_fact
from evengrad.adapters.keras.tap.holders import shown
from evengrad.adapters.keras.tap.listening import Applied
from evengrad.adapters.keras.tap.quiet import Unharmed
from evengrad.values.fact import Fact, Where

_MOST = 64  # layers that are remembered


@dataclass(frozen=True, slots=True, eq=False)
class _Stranger:
    """A layer that a model has called and does not track, and the line."""

    layer: Any
    model: Any
    place: Where | None


class Untracked:
    """Hears which layers are called inside of a model, until the patches are undone."""

    def __init__(self, patches: Patches) -> None:
        self._inside: list[Any] = []
        self._known: dict[int, set[int]] = {}
        self._strangers: dict[int, _Stranger] = {}
        self._loaded: set[int] = set()
        self._held: set[int] = set()
        self._quiet = Unharmed()
        for kind in (keras.layers.Layer, keras.Model):  # a model's may be wrapped already
            patches.wrap(kind, "__call__", self._calling)
            compat.leave_unconverted(vars(kind)["__call__"])
        for name in ("set_weights", "load_own_variables"):
            patches.wrap(keras.layers.Layer, name, self._loading)
        patches.wrap(keras.Model, "load_weights", self._loading)

    def applied(self, event: Applied) -> Iterator[Fact]:
        """A step: what it leaves where it is."""
        self._held |= {id(v) for v in event.variables}
        for model in self._models():
            if any(id(v) in self._held for v in model.trainable_variables):
                yield from self.of(model, event.optimizer)

    def of(self, model: Any, optimizer: Any) -> tuple[Fact, ...]:
        """Of one model: one, or none."""
        found = [
            s
            for s in self._strangers.values()
            if s.model is model
            and id(s.layer) not in self._loaded
            and s.layer.trainable_variables
            and not any(id(v) in self._held for v in s.layer.trainable_variables)
        ]
        return (_fact(model, optimizer, found),) if found else ()

    def _models(self) -> list[Any]:
        return list({id(s.model): s.model for s in self._strangers.values()}.values())

    def _calling(self, original: Any) -> Any:
        @wraps(original)
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._inside and isinstance(layer, keras.Model):
                return self._within(layer, original, layer, args, kwargs)
            if not self._inside or self._quiet(self._known_here, layer, otherwise=True):
                return original(layer, *args, **kwargs)
            place, model = self._quiet(where), self._inside[0]
            found = self._within(None, original, layer, args, kwargs)
            self._quiet(self._remember, layer, model, place)
            return found

        return call

    def _known_here(self, layer: Any) -> bool:
        return self._inside[0] is None or self._tracks(layer)

    def _remember(self, layer: Any, model: Any, place: Where | None) -> None:
        if layer.trainable_variables and len(self._strangers) < _MOST:
            self._strangers.setdefault(id(layer), _Stranger(layer, model, place))

    def _within(self, model: Any, original: Any, layer: Any, args: Any, kwargs: Any) -> Any:
        """model: that is asked now; None for a stranger, whose own layers are its affair."""
        before, self._inside = self._inside, [model]
        try:
            return original(layer, *args, **kwargs)
        finally:
            self._inside = before

    def _tracks(self, layer: Any) -> bool:
        model = self._inside[0]
        if id(layer) in self._known.get(id(model), ()):
            return True
        known = {id(one) for one in [model, *compat.layers_of(model)]}
        self._known[id(model)] = known
        return id(layer) in known

    def _loading(self, original: Any) -> Any:
        @wraps(original)
        def load(layer: Any, *args: Any, **kwargs: Any) -> Any:
            self._quiet(self._note, layer)
            return original(layer, *args, **kwargs)

        return load

    def _note(self, layer: Any) -> None:
        self._loaded |= {id(one) for one in [layer, *compat.layers_of(layer)]}


def _fact(model: Any, optimizer: Any, found: list[_Stranger]) -> Fact:
    shapes = [v.shape for s in found for v in s.layer.trainable_variables]
    whole = size_of([*shapes, *(v.shape for v in model.trainable_variables)])
    names = [s.layer.name for s in found]
    given: tuple[Any, ...] = (optimizer, "untracked", found[0].place, shapes, names)
    return unheld_fact(*given, whole=whole, step=0, model=shown(model))
