"""Finds what is one file each and found by being there: rules, run rules, remedies, changes."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from evengrad.errors import DefinitionError

_WORDS = {Callable: "a function", str: "a string", tuple: "a tuple", int: "an integer"}


def modules(package: str) -> Iterator[ModuleType]:
    """Import every module of a package's folder, sorted by name.

    Raises:
        DefinitionError: one of them cannot be imported.
    """
    for info in sorted(pkgutil.iter_modules(importlib.import_module(package).__path__)):
        try:
            yield importlib.import_module(f"{package}.{info.name}")
        except Exception as error:
            file = getattr(info.module_finder, "path", package)
            raise DefinitionError(
                f"{file}/{info.name}.py cannot be imported: {type(error).__name__}: {error}"
            ) from error


def expect(file: object, holder: Any, what: str, **kinds: Any) -> None:
    """Expect a module or a class to have some names, and a docstring.

    Args:
        file: where it is written, for the message.
        holder: the module or class.
        what: it is, in words: "a rule".
        kinds: the names, and the type of each; ``collections.abc.Callable`` for a function.

    Raises:
        DefinitionError: names that are missing or of another type; all in one message.
    """
    wrong = [] if (getattr(holder, "__doc__", "") or "").strip() else ["a docstring (missing)"]
    for name, kind in kinds.items():
        found = getattr(holder, name, None)
        if isinstance(found, kind):
            continue
        is_there = "missing" if not hasattr(holder, name) else f"is {found!r}"
        wrong.append(f"{name}, {_WORDS.get(kind, kind.__name__)} ({is_there})")
    if wrong:
        raise DefinitionError(f"{file}: {what} needs {'; '.join(wrong)}.")
