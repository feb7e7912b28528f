"""The changes: one file each, found by being there.

A change is a module with one frozen dataclass that derives from ``Change``: its fields are plain values, its
``stage`` says when it is made. ``live_torch`` and ``live_keras`` make it in a training about to begin,
``write_torch`` and ``write_keras`` write it into the script, ``advice`` says it to the user; a change may lack
any of them. Frameworks and LibCST are imported inside the methods alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from functools import cache
from types import ModuleType
from typing import Any

from evengrad.errors import DefinitionError
from evengrad.values.change import Change
from evengrad.values.discovery import expect, modules


@cache
def all_changes() -> Mapping[str, type[Change]]:
    """Every change in this folder by the name of its class. Raises DefinitionError on a file that is none."""
    return {kind.__name__: kind for kind in map(_read, modules(__name__))}


def _read(module: ModuleType) -> type[Change]:
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    found = [kind for kind in own if issubclass(kind, Change)]
    if len(found) != 1:
        names = ", ".join(kind.__name__ for kind in found or own) or "no class"
        raise DefinitionError(
            f"{module.__file__}: expected one class that derives from Change, found {names}."
        )
    kind = found[0]
    if "__dataclass_params__" not in vars(kind):
        raise DefinitionError(
            f"{module.__file__}: {kind.__name__} needs @dataclass(frozen=True, slots=True)."
        )
    expect(module.__file__, kind, kind.__name__, stage=int)
    return kind


def to_json(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """As plain values, each with the name of its class."""
    return [{"change": type(change).__name__, **asdict(change)} for change in changes]


def from_json(values: Iterable[Mapping[str, Any]]) -> tuple[Change, ...]:
    """What ``to_json`` gave. Raises KeyError on an unknown kind."""
    return tuple(_one(all_changes()[value["change"]], value) for value in values)


def _one(kind: type[Change], value: Mapping[str, Any]) -> Change:
    given = {f.name: value[f.name] for f in fields(kind)}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
