"""Patches on other people's objects, as one stack with one undo.

Other tools patch the same functions (profilers, loggers, a second watch), before us and after us, and take
their patches off in any order. So a patch is taken off by identity: where ours is still the one in place, the
original comes back; where somebody has wrapped it since, ours stays below theirs and only hands through.
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
import types
from collections.abc import Callable
from typing import Any, ClassVar

from evengrad.adapters.common.harmless import harmless

log = logging.getLogger("evengrad")
_MISSING: Any = object()
_LOCK = threading.RLock()


class Tracing:
    """A compiler that traces Python code would take ours into what it makes, or give up at it: every patch
    hands through to the original while ``now()`` is true, and is called ``outside`` of what is compiled.
    """

    now: ClassVar[Callable[[], bool]] = staticmethod(bool)
    outside: ClassVar[Callable[[Any], Any]] = staticmethod(lambda function: function)


class Patches:
    """A stack of patches. ``undo`` takes all off, the last first; it may be called again, and does nothing.

    Thread-safe, and safe when two stacks patch one function and are undone in any order.

    Args:
        trouble: is told of an error of what stands in a function's place, which then ends nothing; by default
            it is raised like any other.

    >>> class Model:
    ...     def fit(self):
    ...         return "fit"
    >>> patches = Patches()
    >>> patches.wrap(Model, "fit", lambda original: lambda self: f"watched {original(self)}")
    >>> Model().fit()
    'watched fit'
    >>> patches.undo()
    >>> Model().fit()
    'fit'
    """

    def __init__(self, trouble: Callable[[Exception], object] | None = None) -> None:
        self._trouble = trouble
        self._undo: list[Callable[[], object]] = []

    def wrap(self, place: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace a function by ``make(original)``.

        Args:
            place: a class, a module or an instance.
            name: of the function in it; an inherited one is found, too, and shadowed.
            make: what is given the original and returns what is called instead of it; of a class method both
                take the class first.

        Raises:
            AttributeError: there is no such attribute.
        """
        with _LOCK:
            original, bind = _unbound(place, name)
            own = vars(place).get(name, _MISSING)
            trouble = self._trouble
            made = make(original) if trouble is None else harmless(original, make, trouble)
            patch = _Layer(original, made, own, bind)
            setattr(place, name, patch.function)
            self._undo.append(lambda: patch.take_off(place, name))

    def put(self, place: Any, name: str, value: Any) -> None:
        """Give an object an attribute; at the end it has again what it had, or none."""
        with _LOCK:
            own = vars(place).get(name, _MISSING)
            setattr(place, name, value)
            self._undo.append(lambda: _restore(place, name, own, ours=value))

    def on_undo(self, action: Callable[[], object]) -> None:
        """Anything else that is to be taken off with the rest, such as ``hook.remove``."""
        self._undo.append(action)

    def undo(self) -> None:
        """Take everything off, the last first. One that cannot be is logged; the others still are."""
        with _LOCK:
            while self._undo:
                action = self._undo.pop()
                try:
                    action()
                except Exception:
                    log.warning("evengrad could not take one of its patches off.", exc_info=True)

    def __enter__(self) -> Patches:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()


class _Layer:
    """One wrapped function. own: what the place itself had under the name. active: else it only hands through
    to the original.
    """

    def __init__(
        self, original: Any, replacement: Any, own: Any, bind: Callable[[Any], Any]
    ) -> None:
        self.own = own
        self.active = True
        replacement = Tracing.outside(replacement)

        @functools.wraps(original)
        def function(*args: Any, **kwargs: Any) -> Any:
            if Tracing.now() or not self.active:
                return original(*args, **kwargs)
            return replacement(*args, **kwargs)

        function.__dict__["__evengrad_patch__"] = self
        self.function: Any = bind(function)

    def take_off(self, place: Any, name: str) -> None:
        self.active = False
        while (below := _patch_of(self.own)) is not None and not below.active:
            self.own = below.own
        _restore(place, name, self.own, ours=self.function)


def _unbound(place: Any, name: str) -> tuple[Any, Callable[[Any], Any]]:
    """A function and what makes the like of it in a class: class methods of Python's or of C's, static ones."""
    raw = inspect.getattr_static(place, name, None) if isinstance(place, type) else None
    if isinstance(raw, classmethod | types.ClassMethodDescriptorType):
        descriptor: Any = raw

        def original(cls: Any, *args: Any, **kwargs: Any) -> Any:
            return descriptor.__get__(None, cls)(*args, **kwargs)

        return functools.update_wrapper(original, getattr(place, name)), classmethod
    return getattr(place, name), staticmethod if isinstance(raw, staticmethod) else _as_it_is


def _as_it_is(function: Any) -> Any:
    return function


def _patch_of(function: Any) -> _Layer | None:
    found = getattr(getattr(function, "__func__", function), "__evengrad_patch__", None)
    return found if isinstance(found, _Layer) and found.function is function else None


def _restore(place: Any, name: str, own: Any, *, ours: Any) -> None:
    """Only where ours is still in place: what somebody has put there since is theirs."""
    if vars(place).get(name, _MISSING) is not ours:
        return
    if own is _MISSING:
        delattr(place, name)
    else:
        setattr(place, name, own)
