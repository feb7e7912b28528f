"""One traced call on its way to a node of the spec: what a rule reads, and what it writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import array
from evengrad.adapters.keras.spec.laws import law_of, measured
from evengrad.adapters.keras.trace.trace import TracedCall, symbolic
from evengrad.values.message import msg
from evengrad.values.spec import Composite, Law, Node, Op, Opaque, Reshape, Shape
from evengrad.values.summary import Summary


@dataclass(slots=True)
class SpecTable:
    """All tensors of a spec in the making.

    Attributes:
        shapes: as ``ModelSpec.tensors``.
        constants: as ``ModelSpec`` has them.
        notes: as ``ModelSpec`` has them.
        laws: by variable.
        known: by variable, the figures that are known of it.
        owners: by variable, its layer.
        numbers: by symbolic tensor.
        read: symbolic tensors that something reads.
        dark: numbers of integers and masks.
        alive: so that no id is used twice.
    """

    shapes: list[Shape] = field(default_factory=list)
    constants: dict[int, Law] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    laws: dict[int, Law] = field(default_factory=dict)
    known: dict[int, Summary] = field(default_factory=dict)
    owners: dict[int, Any] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    read: set[int] = field(default_factory=set)  # symbolic tensors that something reads
    dark: set[int] = field(default_factory=set)  # numbers of integers and masks
    alive: list[Any] = field(default_factory=list)  # so that no id is used twice

    def new(self, shape: Sequence[int]) -> int:
        """A further tensor."""
        self.shapes.append(tuple(int(n) for n in shape))
        return len(self.shapes) - 1

    def number(self, tensor: Any) -> int:
        """Of a symbolic tensor, new or known."""
        if id(tensor) not in self.numbers:
            self.numbers[id(tensor)] = self.new(tensor.shape)
            self.alive.append(tensor)
        return self.numbers[id(tensor)]

    def constant(self, law: Law, shape: Sequence[int]) -> int:
        """A tensor that no gradient goes through."""
        number = self.new(shape)
        self.constants[number] = law
        return number

    def law(self, variable: Any, taps: int = 0) -> Law:
        """Of a variable's elements."""
        if id(variable) not in self.laws:
            key = id(variable)
            self.laws[key] = law_of(variable, self.owners.get(key), taps, self.known.get(key))
            self.alive.append(variable)
        return self.laws[id(variable)]

    def note(self, text: str) -> None:
        """Once."""
        if text not in self.notes:
            self.notes.append(text)


class LayerDraft:
    """One call: ``inputs`` are its data, in its order; ``emit`` adds an operation that reads them."""

    def __init__(self, table: SpecTable, call: TracedCall) -> None:
        self.table = table
        self.call = call
        self.owner: Any = call.operation
        self.nodes: list[Node] = []
        flat = keras.tree.flatten((call.args, call.kwargs))
        self.inputs = [table.number(t) for t in flat if symbolic(t)]

    # --- reading -----------------------------------------------------------------------------------

    @property
    def out(self) -> Shape:
        """Shape of the (first) result."""
        return tuple(int(n) for n in self.call.outputs[0].shape)

    def shape(self, tensor: int) -> Shape:
        """Of a tensor by number."""
        return self.table.shapes[tensor]

    def rank(self, tensor: int) -> int:
        """Number of axes."""
        return len(self.shape(tensor))

    def law(self, variable: Any, taps: int = 0) -> Law | None:
        """Of a weight; None for None."""
        return None if variable is None else self.table.law(variable, taps)

    def option(self, *names: str, at: int | None = None, default: Any = None) -> Any:
        """An argument by any of its names: of the call, of the operation, or by its place."""
        for name in names:
            if self.call.kwargs.get(name) is not None:
                return self.call.kwargs[name]
        for name in names:
            if getattr(self.owner, name, None) is not None:
                return getattr(self.owner, name)
        if at is not None and at < len(self.call.args):
            return self.call.args[at]
        return default

    def operands(self) -> list[Any]:
        """Positional arguments, flat: numbers of tensors as ``Tensor``, others as they are."""
        return [self.operand(v) for v in keras.tree.flatten((self.call.args, self.call.kwargs))]

    def operand(self, value: Any) -> Any:
        """A tensor's number; a constant's number if it has axes; else a plain scalar."""
        if symbolic(value):
            return TensorOperand(self.table.number(value))
        if isinstance(value, compat.Variable):
            law, shape = self.table.law(value), tuple(int(n) for n in value.shape)
            return TensorOperand(self.table.constant(law, shape)) if shape else law.mean
        if hasattr(value, "shape") and hasattr(value, "dtype"):
            plain = np.asarray(array(value))
            if plain.size == 1:
                return float(plain.reshape(-1)[0])
            return TensorOperand(self.table.constant(measured(plain), plain.shape))
        return value

    # --- writing -----------------------------------------------------------------------------------

    def emit(self, op: Op, *inputs: int, shape: Sequence[int]) -> int:
        """An operation with one result, whose number it gives."""
        return self.emit_all(op, inputs, [shape])[0]

    def emit_all(self, op: Op, inputs: Sequence[int], shapes: Sequence[Sequence[int]]) -> list[int]:
        """An operation with several results."""
        made = [self.table.new(shape) for shape in shapes]
        name = f"{self.call.name}:{len(self.nodes) + 1}"
        node = Node(
            name=name,
            layer=self.call.layer,
            kind=self.call.kind,
            type=self.call.type,
            op=op,
            inputs=tuple(inputs),
            outputs=tuple(made),
            source=self.call.source,
        )
        self.nodes.append(node)
        return made

    def reshaped(self, tensor: int, shape: Sequence[int]) -> int:
        """The tensor in another shape, as it is if it has it."""
        if self.shape(tensor) == tuple(shape):
            return tensor
        return self.emit(Reshape(), tensor, shape=shape)

    def opaque(self, reason: str) -> list[int]:
        """No rule: one operation of all that is read."""
        self.nodes.clear()
        self.table.note(
            msg(
                "{name} ({type}) has no rule: {reason}",
                name=self.call.name,
                type=self.call.type,
                reason=reason,
            )
        )
        shapes = [tuple(int(n) for n in t.shape) for t in self.call.outputs]
        reads = [t for t in dict.fromkeys(self.inputs) if t not in self.table.dark]
        return self.emit_all(Opaque(reason), reads, shapes)

    def node(self, results: Sequence[int], outputs: Sequence[int], weights: Sequence[str]) -> Node:
        """All that was emitted as one node that makes the outputs."""
        outputs = list(outputs)[: len(results)]
        results = [
            r if r not in self.inputs and r not in results[:i] else self._copied(r, out)
            for i, (r, out) in enumerate(zip(results, outputs, strict=True))
        ]
        named = dict(zip(results, outputs, strict=True))
        nodes = [renumbered(node, named) for node in self.nodes]
        whole = nodes[0] if len(nodes) == 1 else None
        made = {t for node in nodes for t in node.outputs}
        reads = list(dict.fromkeys(t for node in nodes for t in node.inputs if t not in made))
        return Node(
            name=self.call.name,
            layer=self.call.layer,
            kind=self.call.kind,
            type=self.call.type,
            op=whole.op if whole else Composite(tuple(nodes)),
            inputs=whole.inputs if whole else tuple(reads),
            outputs=tuple(outputs),
            weights=tuple(weights),
            source=self.call.source,
        )

    def _copied(self, tensor: int, output: int) -> int:
        return self.emit(Reshape(), tensor, shape=self.shape(output))


@dataclass(frozen=True, slots=True)
class TensorOperand:
    """An operand that is a tensor, by its number."""

    number: int


RuleResult = int | list[int]
LayerRule = Callable[[LayerDraft], RuleResult]


def renumbered(node: Node, numbers: dict[int, int]) -> Node:
    """With other numbers for some tensors."""
    op = node.op
    if isinstance(op, Composite):
        op = Composite(tuple(renumbered(n, numbers) for n in op.nodes))
    return replace(
        node,
        inputs=tuple(numbers.get(t, t) for t in node.inputs),
        outputs=tuple(numbers.get(t, t) for t in node.outputs),
        op=op,
    )


def axis_of(axis: int, rank: int) -> int:
    """Counted from 0."""
    return int(axis) % rank if rank else 0


def axes_of(axes: Any, rank: int) -> tuple[int, ...]:
    """Counted from 0, in order; None: all."""
    if axes is None:
        return tuple(range(rank))
    flat = axes if isinstance(axes, list | tuple) else [axes]
    return tuple(sorted(axis_of(int(a), rank) for a in flat))


def size(shape: Sequence[int]) -> int:
    """Number of elements."""
    return math.prod(shape)
