"""How moments go forwards and gradients backwards through each operation of a spec: a file a family.

A file has MAPS: type of operation -> OperationMap. Found by being there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from evengrad.theory.field import Field, Signal
from evengrad.values.discovery import modules
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
def operation_maps() -> dict[type, OperationMap]:
    """Every map in this folder."""
    return {kind: one for module in modules(__name__) for kind, one in module.MAPS.items()}
