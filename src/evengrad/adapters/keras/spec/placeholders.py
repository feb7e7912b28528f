"""Variables without values: a model of any size built without memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras.src import backend

from evengrad.adapters.keras.backend.differentiate import placeholder

_KEPT = "_evengrad_initialiser"


@contextmanager
def without_values() -> Iterator[None]:
    """Float variables made while it lasts have a shape, a dtype and their initialiser, but no values.

    Keras can already trace a model of such variables (it makes them so in a ``keras.StatelessScope``);
    only running one fails.
    """
    cls: Any = backend.Variable
    own = {name: cls.__dict__.get(name) for name in _PATCHED}
    initialise, deferred = cls._initialize_with_initializer, cls._deferred_initialize

    def keep(variable: Any, initialiser: Any) -> None:
        if not keras.backend.is_float_dtype(variable._dtype):
            initialise(variable, initialiser)
            return
        variable.__dict__[_KEPT] = initialiser
        variable._initializer = initialiser
        variable._value = placeholder(variable)

    def later(variable: Any) -> None:
        if keras.backend.is_float_dtype(variable._dtype):
            keep(variable, variable._initializer)
        else:
            deferred(variable)

    cls._initialize_with_initializer, cls._deferred_initialize = keep, later
    try:
        yield
    finally:
        for name, method in own.items():
            if method is None:
                delattr(cls, name)
            else:
                setattr(cls, name, method)


_PATCHED = ("_initialize_with_initializer", "_deferred_initialize")


def initialiser_of(variable: Any, layer: Any = None) -> Any:
    """What would draw a variable that has no values; None where it has some."""
    kept = variable.__dict__.get(_KEPT)
    value = getattr(variable, "_value", None)
    if kept is not None and (value is None or _hollow(value)):
        return kept
    if value is not None and not _hollow(value):
        return None
    if variable._initializer is not None:
        return variable._initializer
    name = f"{variable.name}_initializer"
    return getattr(layer, name, None) or keras.initializers.GlorotUniform()


def _hollow(value: Any) -> bool:
    """A torch tensor on the meta device."""
    return bool(getattr(value, "is_meta", False))
