"""Which cause has what share of a budget.

A layer's term is measured against the scale that would preserve the variance under the activation that
follows it (He 2015, 1502.01852; docs/theory.md, Activations):

    log gain = log(s / g)         initialisation: s = rms(W) sqrt(fan_in), g = 1 / sqrt(E[phi^2])
             + log(g * slope)     activation: what remains where the initialisation is right
             + the rest           architecture: padding, strides, pooling, branches

Where a normalisation follows, the scale of the weights cannot change the gradient: weights,
normalisation and the activation around them count as normalisation together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from evengrad.diagnosis.budget import Budget, budget, operations_on_path
from evengrad.theory.activations import canonical, named_moments
from evengrad.values.finding import Cause
from evengrad.values.message import msg
from evengrad.values.probe import Operation, Probe, Weight
from evengrad.values.spec import Kind

_JOINS = {"cat", "concat", "concatenate", "hstack", "dstack"}
_TRANSPARENT = {Kind.RESHAPE, Kind.POOLING, Kind.DROPOUT}
_HOMOGENEOUS = {"relu", "leaky_relu", "prelu", "linear", "identity"}
_OF_LOGITS = ("softmax", "log_softmax", "logsoftmax", "sparsemax")
_OF_KIND = {Kind.NORMALISATION: Cause.NORMALISATION, Kind.ACTIVATION: Cause.ACTIVATION}


@dataclass(frozen=True, slots=True)
class Scale:
    """A layer's weights against what would preserve the variance.

    Attributes:
        layer: the user's own name.
        operation: that uses the weights.
        weight: their name.
        actual: rms(W) sqrt(fan_in).
        preserving: 1 / sqrt(E[phi^2]) of its activation, 1 without one.
        activation: the paired operation's name.
        flow: the share of the gradient that passes the layer, 0 to 1.

    References:
        He 2015, 1502.01852, section 2.2; docs/theory.md, "Activations".
    """

    layer: str
    operation: str
    weight: str
    actual: float
    preserving: float
    activation: str | None
    flow: float

    @property
    def log_excess(self) -> float:
        """The share of the budget that is due to the scale: flow * log(actual / preserving)."""
        if self.actual == 0.0:
            return -math.inf if self.flow else 0.0
        return self.flow * math.log(self.actual / self.preserving)

    def in_words(self) -> str:
        """One line of evidence: how far off it is."""
        if self.actual == 0.0:
            return msg("{layer}: its weights are all zero", layer=self.layer)
        ratio = self.actual / self.preserving
        off = (
            msg("{ratio:.3g} times too large", ratio=ratio)
            if ratio > 1
            else msg("{value:.3g} times too small", value=1 / ratio)
        )
        return msg(
            "{layer}: scale {actual:.3g}, variance-preserving {preserving:.3g}: {off}",
            layer=self.layer,
            actual=self.actual,
            preserving=self.preserving,
            off=off,
        )


@dataclass(frozen=True, slots=True)
class Shares:
    """The total split by cause.

    Attributes:
        by_cause: cause -> its share, a natural logarithm.
        by_operation: operation -> cause -> its share.
        scales: the layers whose scale matters (no normalisation behind them), forward order.
        absorbed: operations with weights whose scale a normalisation behind them takes out again: the loss is
            the same whatever it is.
    """

    by_cause: dict[Cause, float]
    by_operation: dict[str, dict[Cause, float]]
    scales: tuple[Scale, ...]
    absorbed: frozenset[str] = frozenset()


def shares(probe: Probe, split: Budget | None = None) -> dict[Cause, float]:
    """The total log growth, split by cause; the shares sum to ``budget(probe).total``."""
    return attribute(probe, split).by_cause


def attribute(probe: Probe, split: Budget | None = None) -> Shares:
    """Split each operation's term of the budget by cause."""
    split = split or budget(probe)
    graph = _Graph(probe)
    scales = {s.operation: s for op in graph.path if (s := _scale(graph, op, split))}
    paired = {scale.activation for scale in scales.values()}
    by_operation: dict[str, dict[Cause, float]] = {}
    for op in graph.path:
        if op.name not in split.terms:
            continue
        term, scale = split.terms[op.name], scales.get(op.name)
        if scale is not None:
            preserving = scale.flow * math.log(scale.preserving)
            excess = scale.log_excess
            rest = term - excess - preserving if math.isfinite(excess) else 0.0
            by_operation[op.name] = {
                Cause.INITIALISATION: excess,
                Cause.ACTIVATION: preserving,
                Cause.ARCHITECTURE: rest,
            }
        elif _normalised(graph, op, paired):
            by_operation[op.name] = {Cause.NORMALISATION: term}
        else:
            by_operation[op.name] = {_OF_KIND.get(op.kind, Cause.ARCHITECTURE): term}
    by_cause: dict[Cause, float] = defaultdict(float)
    for parts in by_operation.values():
        for cause, part in parts.items():
            by_cause[cause] += part
    by_cause[Cause.ARCHITECTURE] += sum(block.branching for block in split.blocks)
    absorbed = frozenset(op.name for op in graph.path if op.weights and _absorbed(graph, op))
    return Shares(dict(by_cause), by_operation, tuple(scales.values()), absorbed)


class _Graph:
    """The path's operations by the tensors that they read and make."""

    def __init__(self, probe: Probe) -> None:
        self.path = operations_on_path(probe)
        self.maker = {port.tensor: op for op in self.path for port in op.outputs}
        self.readers: dict[int, list[Operation]] = defaultdict(list)
        for op in self.path:
            for port in op.inputs:
                self.readers[port.tensor].append(op)
        self.matrices = {w.name: w for w in probe.weights if w.fan_in is not None}

    def matrix(self, op: Operation) -> Weight | None:
        """The weight matrix of a layer, where it has exactly one."""
        found = [self.matrices[name] for name in op.weights if name in self.matrices]
        return found[0] if op.kind is Kind.WEIGHTS and len(found) == 1 else None

    def after(self, op: Operation) -> Operation | None:
        """The only operation that reads this one's output, seen through reshapes and pooling."""
        while True:
            readers = [r for port in op.outputs for r in self.readers[port.tensor]]
            if len(readers) != 1:
                return None
            op = readers[0]
            if op.kind not in _TRANSPARENT:
                return op

    def before(self, op: Operation) -> Operation | None:
        """The operation that makes this one's only input, seen through reshapes and pooling."""
        while True:
            if len(op.inputs) != 1 or op.inputs[0].tensor not in self.maker:
                return None
            op = self.maker[op.inputs[0].tensor]
            if op.kind not in _TRANSPARENT:
                return op


def _scale(graph: _Graph, op: Operation, split: Budget) -> Scale | None:
    weight = graph.matrix(op)
    if weight is None or weight.scale is None or _absorbed(graph, op):
        return None
    activation = graph.after(op)
    if activation is None or not _elementwise(activation):
        activation = _unpaired_before(graph, op)
    return Scale(
        layer=op.layer,
        operation=op.name,
        weight=weight.name,
        actual=weight.scale,
        preserving=1.0 if activation is None else _preserving(graph, activation),
        activation=None if activation is None else activation.name,
        flow=split.flow.get(op.name, 0.0),
    )


def _elementwise(op: Operation) -> bool:
    """Whether it is an activation with a scale of its own; a softmax is given logits."""
    return op.kind is Kind.ACTIVATION and not canonical(op.type).startswith(_OF_LOGITS)


def _unpaired_before(graph: _Graph, op: Operation) -> Operation | None:
    """In pre-activation order (norm, activation, weights) the activation before the weights."""
    activation = graph.before(op)
    if activation is None or not _elementwise(activation):
        return None
    behind = graph.before(activation)
    return None if behind is not None and graph.matrix(behind) else activation


def _absorbed(graph: _Graph, op: Operation) -> bool:
    """Whether normalisations that follow, whatever the way, take the scale of these weights out again."""
    if op.kind not in (Kind.WEIGHTS, Kind.EMBEDDING):
        return False
    waiting, found = [op], False
    while waiting:
        readers = [r for port in waiting.pop().outputs for r in graph.readers[port.tensor]]
        if not readers:
            return False
        for reader in readers:
            if reader.kind is Kind.NORMALISATION:
                found = True
            elif _keeps_scale(reader):
                waiting.append(reader)
            else:
                return False
    return found


def _keeps_scale(op: Operation) -> bool:
    """Whether twice its input is twice its output; of several that are joined, for each by itself."""
    if op.kind is Kind.ACTIVATION:
        return canonical(op.type) in _HOMOGENEOUS
    joins = op.kind is Kind.MERGE and op.type.lower().strip("_") in _JOINS
    return op.kind in _TRANSPARENT or joins


def _normalised(graph: _Graph, op: Operation, paired: set[str | None]) -> bool:
    if op.kind is Kind.WEIGHTS:
        return _absorbed(graph, op)
    if op.kind is not Kind.ACTIVATION or op.name in paired:
        return False
    around = (graph.before(op), graph.after(op))
    return any(near is not None and near.kind is Kind.NORMALISATION for near in around)


def _preserving(graph: _Graph, activation: Operation) -> float:
    """1 / sqrt(E[phi^2]) by theory for a known activation, else as measured on this batch."""
    known = named_moments(activation.type)
    if known is not None:
        return known.gain
    maker = graph.maker.get(activation.inputs[0].tensor)
    if maker is None or activation.forward.rms == 0.0 or maker.forward.rms == 0.0:
        return 1.0
    return maker.forward.rms / activation.forward.rms
