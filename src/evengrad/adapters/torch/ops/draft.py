"""One recorded call on its way to be an operation of a spec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from evengrad.values.spec import Law, Reshape, Shape

IDENTITY = Reshape()


@dataclass(slots=True, eq=False)
class Operand:
    """A tensor that a call was given.

    Attributes:
        number: where a gradient comes through; None for weights, constants and integers.
        shape: its shape.
        tensor: itself, until the call has ended.
        law: of a weight or constant, from the tensor.
        values: the same with values, where the tensor is on ``meta`` and they are known.
        kernel: its ``kernel_figures``, where they have been read.
    """

    number: int | None
    shape: Shape
    tensor: Any
    law: Callable[[Any], Law]
    values: Any = None
    kernel: Sequence[float] | None = None

    def constant(self) -> Law:
        """Its law, for a weight or constant."""
        return self.law(self.tensor)


@dataclass(slots=True, eq=False)
class OperationDraft:
    """An operation with what it reads. steps: several that count as one, each (op, what it reads, shape):
    ("in", i) is the i-th operand, ("step", i) what the i-th step made.
    """

    op: Any
    operands: list[Operand] = field(default_factory=list)
    steps: list[tuple[Any, list[tuple[str, int]], Shape]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class DraftedCall:
    """A call on its way into a spec.

    Attributes:
        name: torch's, plain.
        function: with the arguments it was made with.
        args: with Operands for tensors.
        kwargs: the same, by name.
        outputs: shapes.
    """

    name: str
    function: Any
    args: Any
    kwargs: Any
    outputs: list[Shape]

    def option(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by place or name."""
        if name in self.kwargs:
            return self.kwargs[name]
        return self.args[place] if len(self.args) > place else default

    def operands(self) -> list[Operand]:
        """All tensors, in order, inside lists too."""
        found: list[Operand] = []
        for value in [*self.args, *self.kwargs.values()]:
            parts = value if isinstance(value, list | tuple) else [value]
            found += [p for p in parts if isinstance(p, Operand)]
        return found

    def data(self) -> list[Operand]:
        """Those that a gradient comes through."""
        return [o for o in self.operands() if o.number is not None]

    @property
    def x(self) -> Operand:
        """The first of them."""
        return self.data()[0]

    @property
    def out(self) -> Shape:
        """Shape of the first output."""
        return self.outputs[0]


def chained(x: Operand, steps: list[tuple[Any, Shape]]) -> OperationDraft:
    """One after the other on one operand."""
    if len(steps) == 1:
        return OperationDraft(steps[0][0], [x])
    made = [
        (op, [("step", i - 1) if i else ("in", 0)], shape) for i, (op, shape) in enumerate(steps)
    ]
    return OperationDraft(None, [x], made)


def law_of(value: Any) -> Law | None:
    """Of an optional weight."""
    return value.constant() if isinstance(value, Operand) else None


def tuple_of(value: Any, count: int) -> tuple[int, ...]:
    """A number or a sequence, as torch takes either."""
    if isinstance(value, list | tuple):
        return tuple(int(v) for v in value) if len(value) == count else (int(value[0]),) * count
    return (int(value),) * count


def axis(value: Any, ndim: int) -> int:
    """Counted from 0."""
    return int(value) % max(ndim, 1)
