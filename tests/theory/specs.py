"""Specs written by hand, an operation at a time."""

from __future__ import annotations

import math
from typing import Any

from evengrad.theory.activations import FUNCTIONS
from evengrad.theory.prediction import Prediction, predict
from evengrad.theory.propagate import GradientLevel, propagate, together
from evengrad.values.spec import (
    Combine,
    Convolution,
    Dense,
    Dropout,
    InputSpec,
    Kind,
    Law,
    ModelSpec,
    Node,
    Normalise,
    Pointwise,
    Pool,
    Reduce,
    Shape,
)


class Graph:
    """Tensors are the numbers that its methods return; operations are named o0, o1, ..."""

    def __init__(self, shape: Shape, *, integer: bool = False) -> None:
        self.shapes: list[Shape] = [shape]
        self.nodes: list[Node] = []
        self.constants: dict[int, Law] = {}
        self.integer = integer

    def add(self, op: Any, inputs: tuple[int, ...], shape: Shape, kind: Kind = Kind.OTHER) -> int:
        """Any operation with one output."""
        self.shapes.append(shape)
        made, name = len(self.shapes) - 1, f"o{len(self.nodes)}"
        self.nodes.append(Node(name, name, kind, type(op).__name__, op, inputs, (made,)))
        return made

    def constant(self, shape: Shape, law: Law) -> int:
        """A weight or constant that is read as an operand."""
        self.shapes.append(shape)
        self.constants[len(self.shapes) - 1] = law
        return len(self.shapes) - 1

    def dense(self, x: int, units: int, gain: float = 1.0) -> int:
        """Var W = gain^2 / fan_in, no bias."""
        n = self.shapes[x][-1]
        axis = len(self.shapes[x]) - 1
        op = Dense(Law(0.0, gain / math.sqrt(n)), None, (axis,), (axis,))
        return self.add(op, (x,), (*self.shapes[x][:-1], units), Kind.WEIGHTS)

    def conv(self, x: int, channels: int, gain: float = 1.0, **change: Any) -> int:
        """3x3 on (batch, channels, height, width), padding 1; Var W = gain^2 / fan_in."""
        batch, n, *places = self.shapes[x]
        stride, pad = change.pop("stride", 1), change.pop("pad", 1)
        law = Law(0.0, gain / math.sqrt(9 * n), taps=change.pop("taps", None))
        op = Convolution(law, None, 1, (2, 3), (3, 3), (stride,) * 2, (1, 1), ((pad, pad),) * 2)
        size = [(p + 2 * pad - 3) // stride + 1 for p in places]
        return self.add(op, (x,), (batch, channels, *size), Kind.WEIGHTS)

    def phi(self, x: int, name: str) -> int:
        """An activation."""
        return self.add(Pointwise(name, FUNCTIONS[name]), (x,), self.shapes[x], Kind.ACTIVATION)

    def norm(self, x: int, *axes: int) -> int:
        """Normalisation over those axes, without scale and shift."""
        return self.add(Normalise(axes, epsilon=0.0), (x,), self.shapes[x], Kind.NORMALISATION)

    def plus(self, x: int, y: int) -> int:
        """A residual sum."""
        return self.add(Combine("add", lambda a, b: a + b), (x, y), self.shapes[x], Kind.MERGE)

    def times(self, x: int, factor: float) -> int:
        """By a constant."""
        return self.add(Pointwise("mul", lambda v: v * factor), (x,), self.shapes[x])

    def pool(self, x: int, reduction: Any, size: int) -> int:
        """Windows that do not overlap."""
        batch, n, *places = self.shapes[x]
        op = Pool(reduction, (2, 3), (size,) * 2, (size,) * 2, ((0, 0),) * 2, (1, 1))
        return self.add(op, (x,), (batch, n, *(p // size for p in places)), Kind.POOLING)

    def mean(self, x: int) -> int:
        """Global average pooling."""
        return self.add(Reduce("mean", (2, 3)), (x,), self.shapes[x][:2], Kind.POOLING)

    def dropout(self, x: int, rate: float) -> int:
        """One coin an element."""
        return self.add(Dropout(rate), (x,), self.shapes[x], Kind.DROPOUT)

    def spec(self) -> ModelSpec:
        """The last tensor is the output."""
        return ModelSpec(
            "torch",
            "torch",
            (),
            "by hand",
            tuple(self.shapes),
            (InputSpec("x", 0, self.integer),),
            (len(self.shapes) - 1,),
            tuple(self.nodes),
            constants=self.constants,
        )

    def predict(self) -> Prediction:
        """Its forecast."""
        return predict(self.spec())

    def levels(self) -> dict[str, GradientLevel]:
        """Operation -> the gradient at its output."""
        spec = self.spec()
        inputs = {0: Law(0.0, 1.0)}
        found = propagate(spec, inputs, {len(self.shapes) - 1: 1.0})
        return {name: together(p.above.values()) for name, p in found.gains.items()}


def energy(levels: dict[str, GradientLevel], below: str, above: str) -> float:
    """Ratio of the gradient's energy at the outputs of two operations, means over seeds."""
    return levels[below].energy / levels[above].energy
