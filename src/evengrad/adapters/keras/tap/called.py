"""Hears a loop's own calls of models and losses, where they have values."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import keras

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.trace.trace import symbolic


@dataclass(slots=True, eq=False)
class CalledModel:
    """One outermost call of a model.

    Attributes:
        model: itself.
        inputs: its first argument, a structure of tensors.
        training: as it was given, None where it was not.
        outputs: what came of it.
    """

    model: Any
    inputs: Any
    training: Any
    outputs: Any = None

    def reads(self, other: CalledModel) -> bool:
        """Whether it is given what another call has made."""
        made = {id(t) for t in keras.tree.flatten(other.outputs)}
        return any(id(t) in made for t in keras.tree.flatten(self.inputs))


@dataclass(slots=True, eq=False)
class CalledLoss:
    """One call of a ``keras.losses.Loss``. weight: of the samples."""

    loss: Any
    targets: Any
    outputs: Any
    weight: Any
    value: Any


@dataclass(slots=True, eq=False)
class Calls:
    """Those since the last time that they were cleared.

    Attributes:
        models: in order.
        losses: in order.
    """

    models: list[CalledModel] = field(default_factory=list)
    losses: list[CalledLoss] = field(default_factory=list)
    _local: threading.local = field(default_factory=threading.local)

    def hear(self, patches: Patches) -> None:
        """From now on, until the patches are undone."""
        patches.wrap(keras.Model, "__call__", self._calling)
        patches.wrap(keras.Model, "stateless_call", self._calling_stateless)
        patches.wrap(keras.losses.Loss, "__call__", self._losing)
        for cls in (keras.Model, keras.losses.Loss):
            compat.leave_unconverted(vars(cls)["__call__"])

    def clear(self) -> None:
        """A new step begins."""
        self.models.clear()
        self.losses.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While it lasts, nothing is heard in this thread."""
        before, self._local.inside = getattr(self._local, "inside", False), True
        try:
            yield
        finally:
            self._local.inside = before

    def _calling(self, original: Any) -> Any:
        @wraps(original)
        def call(model: Any, *args: Any, **kwargs: Any) -> Any:
            if getattr(self._local, "inside", False) or not args:
                return original(model, *args, **kwargs)
            if any(map(symbolic, keras.tree.flatten(args))):
                return original(model, *args, **kwargs)
            called = CalledModel(model, args[0], kwargs.get("training"))
            with self.paused():
                called.outputs = original(model, *args, **kwargs)
            self.models.append(called)
            return called.outputs

        return call

    def _calling_stateless(self, original: Any) -> Any:
        @wraps(original)
        def call(model: Any, *args: Any, **kwargs: Any) -> Any:
            if getattr(self._local, "inside", False) or len(args) < 3:
                return original(model, *args, **kwargs)
            with self.paused():
                found = original(model, *args, **kwargs)
            self.models.append(CalledModel(model, args[2], kwargs.get("training"), found[0]))
            return found

        return call

    def _losing(self, original: Any) -> Any:
        @wraps(original)
        def call(loss: Any, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            if getattr(self._local, "inside", False):
                return original(loss, y_true, y_pred, sample_weight)
            with self.paused():
                value = original(loss, y_true, y_pred, sample_weight)
            self.losses.append(CalledLoss(loss, y_true, y_pred, sample_weight, value))
            return value

        return call
