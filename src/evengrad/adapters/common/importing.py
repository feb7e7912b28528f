"""What is done once somebody else's package is imported, whole.

A package that imports the framework which is stepped into is half imported in that moment: what is to be
patched of it does not exist yet.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import wrapt

_waiting: dict[str, list[Callable[[Any], object]]] = {}
"""By name, as long as a module is expected, or its import has begun."""


def expect_imports(names: Iterable[str]) -> None:
    """Before any of these modules is imported, or this has no effect for it: ``when_imported`` waits for all of
    it then.
    """
    for name in names:
        if name not in sys.modules and name not in _waiting:
            _waiting[name] = []
            wrapt.register_post_import_hook(_whole, name)


def when_imported(name: str, action: Callable[[Any], object]) -> None:
    """Give a module to an action: now, where it is imported already, else in the moment that it is."""
    if name in _waiting:
        _waiting[name].append(action)
    else:
        wrapt.register_post_import_hook(action, name)


def _whole(module: ModuleType) -> None:
    for action in _waiting.pop(module.__name__, ()):
        action(module)
