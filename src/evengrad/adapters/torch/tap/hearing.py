"""One function mode a thread, for all that listen in it.

A mode of each one's own would send every torch call through once more for each, and torch takes off whichever
mode was begun last, not the one that ends.
"""

from __future__ import annotations

import logging
import sys
import threading
import weakref
from types import FrameType
from typing import Any, Protocol, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from evengrad.adapters.torch.compat import under
from evengrad.adapters.torch.ops.calls import PASSED
from evengrad.adapters.torch.ops.kinds import kind_of
from evengrad.values.spec import Kind

log = logging.getLogger("evengrad")
T = TypeVar("T")


class ActivationHearer(Protocol):
    """Told of activation functions."""

    def hear(
        self, function: str, args: Any, kwargs: Any, result: Any, frame: FrameType | None
    ) -> None:
        """One was called, from this frame, with gradients enabled."""


class LossHearer(Protocol):
    """Told of every call, and looks for those of a loss."""

    def before(self, function: str, args: Any, kwargs: Any) -> None:
        """One is about to be made."""

    def after(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """It was made."""


class CallHearer(Protocol):
    """Told of every call."""

    def hear_call(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        """One was made."""


class ThreadMode(TorchFunctionMode):
    """Tells its listeners of activation functions, and one each of the two other kinds of every call; changes
    no value. Listeners are held weakly: they end with their optimizers. on: whether the mode was begun.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on = False
        self._thread = threading.get_ident()
        self._listeners: tuple[weakref.ref[ActivationHearer], ...] = ()
        self._losses: tuple[weakref.ref[LossHearer], ...] = ()
        self._all: weakref.ref[CallHearer] | None = None
        self._lock = threading.RLock()
        self._inside = 0  # calls that it is off for, till torch puts it back

    def add(self, listener: ActivationHearer) -> None:
        """In this mode's own thread."""
        with self._lock:
            self._listeners = (*_others(self._listeners, listener), weakref.ref(listener))
        self._begin()

    def tell_all(self, listener: CallHearer | None) -> None:
        """Of every call in this mode's own thread, from now on; None: of none any more."""
        self._all = None if listener is None else weakref.ref(listener)
        if listener is not None:
            self._begin()

    def add_losses(self, listener: LossHearer) -> None:
        """In this mode's own thread."""
        with self._lock:
            self._losses = (*_others(self._losses, listener), weakref.ref(listener))
        self._begin()

    def deafen(self) -> None:
        """Tell nobody of every call any more."""
        self.tell_all(None)
        self.rest()

    def drop(self, listener: ActivationHearer | LossHearer | None) -> None:
        """From any thread."""
        with self._lock:
            self._listeners = _others(self._listeners, listener)
            self._losses = _others(self._losses, listener)

    def rest(self) -> None:
        """End the mode if nobody listens; from another thread, or inside a call, it goes on for nobody."""
        if self._listeners or self._losses:
            self.drop(None)  # those that are gone
        here = threading.get_ident() == self._thread
        heard = self._listeners or self._losses or self._all is not None
        if self.on and here and not self._inside and not heard:
            with under(self) as above:
                above[:] = [mode for mode in above if mode is not self]
            self.on = False

    def _begin(self) -> None:
        if not self.on:
            self.on = True
            self.__enter__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every torch call comes through here, the highest-level one of each. A listener that fails is told no
        more; the script's own call is made, and goes on.
        """
        kwargs = kwargs or {}
        if torch.compiler.is_compiling():  # what follows would be traced, and break the graph
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        loss = next((one for ref in self._losses if (one := ref()) is not None), None)
        try:
            if loss is not None:
                loss.before(name, args, kwargs)
        except Exception as error:
            self._failed(loss, error)
            loss = None
        self._inside += 1
        try:
            result = func(*args, **kwargs)
        finally:
            self._inside -= 1
        told: Any = loss
        try:
            if loss is not None:
                loss.after(name, args, kwargs, result)
            if self._all is not None and (told := self._all()) is not None:
                told.hear_call(func, args, kwargs, result)
            if name in PASSED or not self._listeners or not torch.is_grad_enabled():
                return result
            if kind_of(name, weighted=False, inputs=1) is Kind.ACTIVATION:
                frame = sys._getframe(1)
                for ref in self._listeners:
                    if (told := ref()) is not None:
                        told.hear(name, args, kwargs, result, frame)
        except Exception as error:
            self._failed(told, error)
        return result

    def _failed(self, listener: Any, error: Exception) -> None:
        log.warning("evengrad: %s listens no more: %s", type(listener).__name__, error)
        if self._all is not None and self._all() is listener:
            self._all = None
        self.drop(listener)


def _others(refs: tuple[weakref.ref[T], ...], listener: Any) -> tuple[weakref.ref[T], ...]:
    return tuple(ref for ref in refs if ref() not in (None, listener))


_here = threading.local()


def hearing() -> ThreadMode:
    """That of this thread."""
    if not hasattr(_here, "mode"):
        _here.mode = ThreadMode()
    mode: ThreadMode = _here.mode
    return mode
