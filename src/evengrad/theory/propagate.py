"""A spec once forwards and once backwards: moments of every tensor, energy of every gradient.

Tensors that are elementwise functions of one and the same tensor (GELU spelled out, x * sigmoid(x)) are kept
as functions of it, so that their joint law stays exact and gradients by several such paths add up as they do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from evengrad.theory.field import ONES, Field, Signal, energy, function_of, gaussian, total
from evengrad.theory.gaussian import dual, expect
from evengrad.theory.kernel import independent, pair_mean
from evengrad.theory.maps import OperationMap, operation_maps
from evengrad.values.spec import (
    Array,
    Combine,
    Composite,
    Law,
    ModelSpec,
    Node,
    Opaque,
    Pointwise,
    Shape,
)

_UNKNOWN = (2 * math.log(10) / 1.959964) ** 2
"""Var log energy that an operation without a rule adds: a decade of the norm either way in 95%."""

_STEP = 1e-4  # of the central difference for a slope, relative to the argument's rms


@dataclass(frozen=True, slots=True)
class GradientLevel:
    """A gradient at one place.

    Attributes:
        energy: E||delta||^2, summed over the elements.
        spread: Var log energy over seeds.
        depth: weight matrices between it and the outputs.
    """

    energy: float = 0.0
    spread: float = 0.0
    depth: float = 0.0


NOTHING = GradientLevel()


def together(levels: Iterable[GradientLevel]) -> GradientLevel:
    """Energies added; spread and depth are means over the energy."""
    parts = list(levels)
    whole = sum(p.energy for p in parts)
    if whole <= 0:
        return NOTHING
    return GradientLevel(
        whole,
        sum(p.energy * p.spread for p in parts) / whole,
        sum(p.energy * p.depth for p in parts) / whole,
    )


@dataclass(slots=True)
class OperationGain:
    """What one operation does.

    Attributes:
        below: input tensor -> the gradient there through this operation alone.
        above: output tensor -> the gradient there by all paths.
        grown: the fluctuation that the operation adds, Var log energy over seeds.
    """

    below: dict[int, GradientLevel] = field(default_factory=dict)
    above: dict[int, GradientLevel] = field(default_factory=dict)
    grown: float = 0.0


@dataclass(slots=True)
class Propagation:
    """What the theory says of a spec.

    Attributes:
        fields: tensor -> its law.
        gains: operation -> what it does.
        sources: tensor -> the gradient there by all paths, where gradients arrive.
        unknown: operation -> why there is no rule for it.
    """

    fields: dict[int, Field]
    gains: dict[str, OperationGain]
    sources: dict[int, GradientLevel]
    unknown: dict[str, str]


def propagate(spec: ModelSpec, inputs: dict[int, Law], starts: dict[int, float]) -> Propagation:
    """Run the theory over a spec: forwards the laws of the tensors, backwards the energies of the gradient.

    Args:
        spec: the model.
        inputs: tensor -> its law, of the model's inputs.
        starts: tensor -> E[delta^2] summed over its elements, at the outputs.

    Returns:
        The law at each tensor, the gradient at each operation, and the operations without a rule.
    """
    run = _Pass(spec, inputs)
    for node in run.nodes:
        run.forward(node)
    for tensor, level in starts.items():
        shape = spec.tensors[tensor]
        kernel = independent(shape, level / max(math.prod(shape), 1))
        features = shape[-1] if shape else 1
        run.add(tensor, object(), Signal(kernel, ONES, {}, 0.0, 1 / max(features, 1)))
    for node in reversed(run.nodes):
        run.backward(node)
    sources = {t: run.level(t) for t in run.fields if t in run.signals}
    return Propagation(run.fields, run.gains, sources, run.unknown)


class _Pass:
    """The state of one propagation. signals: tensor -> where a gradient came from -> the gradient."""

    def __init__(self, spec: ModelSpec, inputs: dict[int, Law]) -> None:
        self.spec = spec
        self.fields: dict[int, Field] = {}
        self.signals: dict[int, dict[object, Signal]] = {}
        self.wholes: dict[int, Signal] = {}
        self.gains: dict[str, OperationGain] = {}
        self.unknown: dict[str, str] = {}
        self.nodes = list(_opened(spec.nodes))
        self.constants = set(spec.constants)
        self.integer = {i.tensor for i in spec.inputs if i.integer}
        for tensor, law in {**spec.constants, **inputs}.items():
            if tensor in self.integer:
                continue
            self.fields[tensor] = _of_law(spec.tensors[tensor], law)

    # --- forwards -------------------------------------------------------------------------------

    def forward(self, node: Node) -> None:
        shapes = [self.spec.tensors[t] for t in node.outputs]
        fields = [self.fields.get(t) for t in node.inputs]
        made = self._made(node, fields, shapes)
        for tensor, found in zip(node.outputs, made, strict=True):
            self.fields[tensor] = found

    def _made(
        self, node: Node, fields: Sequence[Field | None], shapes: Sequence[Shape]
    ) -> list[Field]:
        phi = _elementwise(node, fields, shapes)
        if phi is not None:
            known = [f for f in fields if f is not None]
            return [function_of(known[0], np.asarray(phi(*(f.values for f in known)), dtype=float))]
        rule = self._rule(node)
        if rule is not None and (
            node.kind.value == "embedding" or all(f is not None for f in fields)
        ):
            return rule.forward(node.op, [f for f in fields if f is not None], shapes)
        self.unknown.setdefault(
            node.name, getattr(node.op, "reason", "its input is of no known law")
        )
        square = next((f.square for f in fields if f is not None), 1.0)
        return [gaussian(s, independent(s, square), np.zeros(1)) for s in shapes]

    def _rule(self, node: Node) -> OperationMap | None:
        return None if isinstance(node.op, Opaque) else operation_maps().get(type(node.op))

    # --- backwards ------------------------------------------------------------------------------

    def add(self, tensor: int, source: object, signal: Signal) -> None:
        """A gradient arrives; one from the same source is added coherently."""
        here = self.signals.setdefault(tensor, {})
        if source in here:
            signal = replace(here[source], slope=here[source].slope + signal.slope)
        here[source] = signal
        self.wholes.pop(tensor, None)

    def whole(self, tensor: int) -> Signal | None:
        """All that has arrived at a tensor, as one."""
        if tensor not in self.wholes and self.signals.get(tensor):
            self.wholes[tensor] = total(list(self.signals[tensor].values()), self.fields[tensor])
        return self.wholes.get(tensor)

    def level(self, tensor: int) -> GradientLevel:
        """By all paths."""
        whole = self.whole(tensor)
        return NOTHING if whole is None else self._level(whole, tensor)

    def _level(self, whole: Signal, tensor: int) -> GradientLevel:
        size = self._size(tensor) * energy(whole, self.fields[tensor])
        return GradientLevel(size, whole.spread, whole.depth)

    def _size(self, tensor: int) -> int:
        return math.prod(self.spec.tensors[tensor])

    def backward(self, node: Node) -> None:
        gain = self.gains.setdefault(node.name, OperationGain())
        arrived = [self.signals.get(t) for t in node.outputs]
        for tensor in node.outputs:
            gain.above[tensor] = self.level(tensor)
        data = [t for t in node.inputs if t in self.fields and t not in self.constants]
        if not any(arrived):
            gain.below |= dict.fromkeys(data, NOTHING)
            return
        sent = self._sent(node, arrived)
        top = max(above.spread for above in gain.above.values())
        for tensor, parts in zip(node.inputs, sent, strict=True):
            if tensor not in data:
                continue
            here = NOTHING
            if parts:
                here = self._level(total(list(parts.values()), self.fields[tensor]), tensor)
            gain.below[tensor] = together([here, gain.below.get(tensor, NOTHING)])
            gain.grown = max(gain.grown, here.spread - top)
            for source, signal in parts.items():
                self.add(tensor, source, signal)

    def _sent(
        self, node: Node, arrived: Sequence[dict[object, Signal] | None]
    ) -> list[dict[object, Signal]]:
        """For each input, the gradients by their source."""
        fields = [self.fields.get(t) for t in node.inputs]
        outputs = [self.fields[t] for t in node.outputs]
        phi = _elementwise(node, fields, [f.shape for f in outputs])
        if phi is not None:
            return _through(phi, [f for f in fields if f is not None], arrived[0] or {})
        whole = [self.whole(t) for t in node.outputs]
        rule = self._rule(node)
        if rule is None or node.name in self.unknown:
            return self._let_through(node, whole)
        known = [f for f in fields if f is not None]
        found = iter(rule.backward(node.op, known, outputs, whole))
        sent: list[dict[object, Signal]] = []
        for at in fields:
            signal = next(found, None) if at is not None else None
            sent.append({} if signal is None or at is None else {object(): _fitting(signal, at)})
        return sent

    def _let_through(
        self, node: Node, whole: Sequence[Signal | None]
    ) -> list[dict[object, Signal]]:
        """No rule: the energy is shared out equally, as if no norm changed."""
        level = sum(
            self._size(t) * energy(s, self.fields[t])
            for t, s in zip(node.outputs, whole, strict=True)
            if s is not None
        )
        spread = max((s.spread for s in whole if s is not None), default=0.0) + _UNKNOWN
        data = [t for t in node.inputs if t in self.fields]
        sent: list[dict[object, Signal]] = []
        for t in node.inputs:
            if t not in self.fields:
                sent.append({})
                continue
            shape = self.spec.tensors[t]
            kernel = independent(shape, level / len(data) / max(self._size(t), 1))
            sent.append({object(): Signal(kernel, ONES, {}, spread)})
        return sent


def _of_law(shape: Shape, law: Law) -> Field:
    """Normal; but values known to have one sign keep it, since an exponential of a tail on the other side
    would outweigh all else.
    """
    kernel = independent(shape, law.rms**2, law.mean)
    made = gaussian(shape, kernel, np.array([law.mean]))
    if law.bounds is None or law.bounds[0] < 0.0 < law.bounds[1]:
        return made
    return replace(made, values=np.clip(made.values, *law.bounds))


def _opened(nodes: Sequence[Node]) -> list[Node]:
    """Composites by what is inside them."""
    found: list[Node] = []
    for node in nodes:
        if isinstance(node.op, Composite):
            found += _opened(node.op.nodes)
        else:
            found.append(node)
    return found


def _fitting(signal: Signal, at: Field) -> Signal:
    """A gradient known by parts, at a tensor that has none."""
    if len(signal.kernel) in (1, len(at.kernel)):
        return signal
    return replace(signal, kernel=signal.kernel.mean(axis=0, keepdims=True))


def _elementwise(
    node: Node, fields: Sequence[Field | None], shapes: Sequence[Shape]
) -> Callable[..., Array] | None:
    """Its function, where all that it reads are functions of one tensor."""
    known = [f for f in fields if f is not None]
    if isinstance(node.op, Pointwise) and len(known) == 1:
        return node.op.phi
    if not isinstance(node.op, Combine) or len(known) != 2:
        return None
    together = known[0].anchor is known[1].anchor
    alike = known[0].shape == known[1].shape == shapes[0]
    return node.op.phi if together and alike else None


def _through(
    phi: Callable[..., Array], fields: Sequence[Field], arrived: dict[object, Signal]
) -> list[dict[object, Signal]]:
    """Gradients times the partial derivatives of an elementwise function."""
    sent: list[dict[object, Signal]] = []
    values = [f.values for f in fields]
    for i, at in enumerate(fields):
        step = _STEP * np.sqrt(expect(values[i] ** 2))[:, None] + 1e-300
        up, down = list(values), list(values)
        up[i], down[i] = values[i] + step, values[i] - step
        slope = (np.asarray(phi(*up), float) - np.asarray(phi(*down), float)) / (2 * step)
        here: dict[object, Signal] = {}
        for source, signal in arrived.items():
            grown = _by_slopes(signal, slope, at)
            here[source] = replace(signal, slope=signal.slope * slope, spread=signal.spread + grown)
        sent.append(here)
    return sent


def _by_slopes(signal: Signal, slope: Array, at: Field) -> float:
    """The fluctuation over seeds that random slopes add to Var log energy:
    mean over pairs of (1 + 2 cos^2) (E[s^2 s'^2] / E[s^2]^2 - 1); (5 - 2) / n with He-ReLU and one sample.
    """
    mean = expect(slope**2)
    if not np.all(mean > 0):
        return 0.0
    wide = (-1,) + (1,) * len(at.shape)
    rho = at.anchor.rho
    uneven = dual(slope**2, rho) / (mean**2).reshape(wide) - 1
    first = signal.kernel.reshape(len(signal.kernel), -1)[:, 0].reshape(wide)
    cosine = (signal.kernel / np.where(first > 0, first, 1.0)) ** 2
    cosine = np.minimum(cosine + signal.overlap, 1.0)
    return float(
        pair_mean((1 + 2 * cosine) * np.maximum(uneven, 0.0), dict(enumerate(at.shape))).mean()
    )
