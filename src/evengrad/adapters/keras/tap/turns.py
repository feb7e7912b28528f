"""Which training of a script ``fit`` or ``train_on_batch`` begins, and whether another one may follow."""

from __future__ import annotations

import ast
import sys
from dataclasses import replace
from types import FrameType, ModuleType
from typing import Any

import keras

from evengrad.adapters.common.ahead import ahead, called, receiver
from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import Session
from evengrad.adapters.common.source import where
from evengrad.adapters.keras.tap.holders import shown
from evengrad.values.fact import Where
from evengrad.values.probe import Probe, Turn


class FitTurns:
    """The trainings that have begun: each compiled optimizer at each line that trains with it is one.

    Args:
        session: to report to.
        patches: to be undone at the end.
    """

    def __init__(self, session: Session, patches: Patches) -> None:
        self._session = session
        self._begun: list[tuple[Any, Where | None]] = []
        self._waiting: dict[
            int, tuple[Any, Where | None]
        ] = {}  # compiled and not trained, by model
        self._ahead: Where | None = None
        patches.wrap(keras.Model, "compile", self._compiling)

    def begins(self, model: Any) -> bool:
        """Whether this is the first step of a training that is to be measured."""
        place = where(sys._getframe(1))
        its = getattr(model, "optimizer", None)
        own = [at for optimizer, at in self._begun if optimizer is its]
        if any(_same(at, place) for at in own) and its is not None:
            return False
        self._waiting.pop(id(model), None)
        self._begun.append((its, place))
        return not self._session.several or self._session.wanted()

    def goes_on(self) -> bool:
        """Whether the script is to go on to another training, which may follow."""
        return self._session.several and self._following() is not None

    def keep(self, model: Any, probe: Probe) -> None:
        """Measured, and the script goes on."""
        self._session.keep(self.named(model, probe), self._following())

    def named(self, model: Any, probe: Probe) -> Probe:
        """With the user's own names."""
        optimizer = "" if probe.optimizer is None else f" by {probe.optimizer.name}"
        return replace(probe, training=Turn(1, f"{shown(model)}{optimizer}", self._begun[-1][1]))

    def _following(self) -> Where | None:
        waiting = next((place for _, place in self._waiting.values() if place is not None), None)
        return waiting or self._ahead or ahead(sys._getframe(1), _trains, again=False)

    def _compiling(self, original: Any) -> Any:
        def compile_(model: Any, *args: Any, **kwargs: Any) -> Any:
            found = original(model, *args, **kwargs)
            if self._session.several:
                self._waiting[id(model)] = model, where()
                self._ahead = ahead(sys._getframe(1), _compiles)
            return found

        return compile_


def _same(one: Where | None, other: Where | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.file, one.line) == (other.file, other.line)


def _compiles(call: ast.Call, frame: FrameType) -> bool:
    return called(call) == "compile" and _of_model(call, frame)


def _trains(call: ast.Call, frame: FrameType) -> bool:
    return called(call) in ("fit", "train_on_batch") and _of_model(call, frame)


def _of_model(call: ast.Call, frame: FrameType) -> bool:
    """Whether a method's object is a Keras model, or may be one: it is not there yet."""
    if not isinstance(call.func, ast.Attribute):
        return False
    owner = receiver(call, frame)
    if owner is None or isinstance(owner, type):
        return owner is None or issubclass(owner, keras.Model)
    return isinstance(owner, keras.Model) and not isinstance(owner, ModuleType)
