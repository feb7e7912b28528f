"""Variables without values: a model of any size built without memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import placeholder

_KEPT = "_evengrad_initialiser"


@contextmanager
def without_values() -> Iterator[None]:
    """Float variables made while it lasts have a shape, a dtype and their initialiser, but no values.

    Keras can already trace a model of such variables (it makes them so in a ``keras.StatelessScope``);
    only running one fails.
    """

    def keep(variable: Any, initialiser: Any) -> None:
        variable.__dict__[_KEPT] = initialiser
        compat.hold(variable, placeholder(variable), initialiser)

    def initialising(original: Any) -> Any:
        def initialise(variable: Any, initialiser: Any) -> None:
            (keep if _is_float(variable) else original)(variable, initialiser)

        return initialise

    def deferring(original: Any) -> Any:
        def initialise_later(variable: Any) -> None:
            if _is_float(variable):
                keep(variable, compat.initialiser_of(variable))
            else:
                original(variable)

        return initialise_later

    with Patches() as patches:
        if compat.defers_values():
            for name, make in zip(compat.VARIABLE_HOOKS, (initialising, deferring), strict=True):
                patches.wrap(compat.Variable, name, make)
        yield


def _is_float(variable: Any) -> bool:
    return bool(keras.backend.is_float_dtype(variable.dtype))


def initialiser_of(variable: Any, layer: Any = None) -> Any:
    """What would draw a variable that has no values; None where it has some."""
    kept = variable.__dict__.get(_KEPT)
    value = compat.value_of(variable)
    if kept is not None and (value is None or _hollow(value)):
        return kept
    if value is not None and not _hollow(value):
        return None
    waiting = compat.initialiser_of(variable)
    if waiting is not None:
        return waiting
    name = "_".join((variable.name, "initializer"))
    return getattr(layer, name, None) or keras.initializers.GlorotUniform()


def _hollow(value: Any) -> bool:
    """A torch tensor on the meta device."""
    return bool(getattr(value, "is_meta", False))
