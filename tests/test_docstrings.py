"""What a user can call names each of its parameters: under Args, or under Attributes where it is a value."""

from __future__ import annotations

import inspect
import re
from enum import EnumType
from typing import get_args

import pytest

import evengrad
from evengrad.recording.clip import OfNorms


def described(docstring: str) -> set[str]:
    """The names that the sections Args and Attributes explain."""
    sections = re.findall(r"^(?:Args|Attributes):\n((?:    .*\n?|\n)+)", docstring, re.M)
    return {name for one in sections for name in re.findall(r"^    \*{0,2}(\w+): \S", one, re.M)}


def overrides(owner, name):
    """Whether it is documented where it comes from."""
    return any(hasattr(base, name) for base in owner.__bases__)


def callables():
    """Every public function and class that takes arguments, the kinds of a clip, and public methods."""
    found = {name: getattr(evengrad, name) for name in evengrad.__all__}
    found |= {kind.__name__: kind for kind in get_args(evengrad.Clip)}
    found = {
        name: one
        for name, one in found.items()
        if inspect.isfunction(one)
        or (
            (inspect.isclass(one) and not isinstance(one, EnumType))
            and not issubclass(one, Exception)
        )
    }
    for owner in [one for one in found.values() if inspect.isclass(one)] + [OfNorms]:
        for name, method in vars(owner).items():
            if (
                inspect.isfunction(method)
                and not name.startswith("_")
                and not overrides(owner, name)
            ):
                found[f"{owner.__name__}.{name}"] = method
    return found


@pytest.mark.parametrize(("name", "one"), callables().items())
def test_every_parameter_is_explained(name, one):
    if getattr(one, "_is_protocol", False):
        return
    parameters = set(inspect.signature(one).parameters) - {"self"}
    assert not parameters - described(inspect.getdoc(one) or ""), name


@pytest.mark.keras
@pytest.mark.once
def test_every_parameter_of_the_callback_is_explained():
    watch = evengrad.keras.Watch
    parameters = set(inspect.signature(watch).parameters)
    assert parameters
    assert parameters <= described(inspect.getdoc(watch))
