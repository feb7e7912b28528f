"""How moments go forwards and gradients backwards through each operation of a spec: a file a family.

A file has RULES: type of op -> Rule. Found by being there.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from evengrad.theory.field import Field, Signal
from evengrad.values.spec import Shape


@dataclass(frozen=True, slots=True)
class OperationMap:
    """forward: (op, inputs, shapes of the outputs) -> outputs. backward: (op, inputs, outputs, the gradients
    at the outputs) -> the gradient at each input through this operation alone.

    An input is None where it is integer; a gradient is None where none arrives.
    """

    forward: Callable[[Any, Sequence[Field], Sequence[Shape]], list[Field]]
    backward: Callable[
        [Any, Sequence[Field], Sequence[Field], Sequence[Signal | None]], list[Signal | None]
    ]


@cache
def rules() -> dict[type, OperationMap]:
    """Every rule in this folder."""
    found: dict[type, OperationMap] = {}
    for info in pkgutil.iter_modules(__path__):
        found |= getattr(importlib.import_module(f"{__name__}.{info.name}"), "RULES", {})
    return found
