"""What a probe of a model would measure, from its spec alone, with a band over seeds.

The energies are expectations over seeds; of a log-normal energy with Var log E = V the median lies V / 2
below the log of its mean, and the log of the norm has the standard deviation sqrt(V) / 2 (Hanin & Nica 2018,
1812.05994).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evengrad.theory.field import Field
from evengrad.theory.gaussian import WEIGHTS
from evengrad.theory.notes import steep_constants
from evengrad.theory.propagate import (
    NOTHING,
    GradientLevel,
    OperationGain,
    Propagation,
    propagate,
    together,
)
from evengrad.values.message import msg
from evengrad.values.probe import Input, Loss, Operation, Port, Probe, Weight
from evengrad.values.spec import Composite, Law, ModelSpec, Node, Shape
from evengrad.values.summary import Summary
from evengrad.values.wording import factor

_QUANTILE = 1.959964  # of 97.5%
_ERROR, _LAYER_ERROR, _TERM_ERROR = 0.07, 0.015, 0.02
"""What the theory itself is off by, in the log of the norm, besides the fluctuation over seeds: at all, for
each weight matrix on the way (all in one direction), and in one operation's gain. Measured on the
development half of ``bench/zoo``.
"""


@dataclass(frozen=True, slots=True)
class Band:
    """A natural logarithm over seeds.

    Attributes:
        low: 2.5% of the seeds lie below.
        median: of the seeds.
        high: 2.5% of the seeds lie above.
    """

    low: float
    median: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a measured value lies inside.

        Args:
            value: a natural logarithm.

        Returns:
            Whether it does, the ends included.
        """
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """The budget of the median seed, with a 95% band; natural logarithms.

    Attributes:
        expected: what a probe would measure; norms are relative to the norm at the outputs, weights have no
            gradients, and the loss is unknown.
        levels: operation -> log(norm of dL/dy at its output / norm at the outputs).
        terms: operation -> its log gain.
        total: log(norm at the model's inputs / norm at its outputs).
        unknown: operation -> why there is no rule for it.

    References:
        docs/theory.md, "Growth through depth"; Hanin and Nica 2018, 1812.05994.
    """

    expected: Probe
    levels: dict[str, Band]
    terms: dict[str, Band]
    total: Band
    unknown: dict[str, str]

    def __repr__(self) -> str:
        total = " to ".join(factor(end) for end in (self.total.low, self.total.high))
        return f"<Prediction of {self.expected.model}: gradient {total} from the outputs to the inputs>"


def predict(spec: ModelSpec, inputs: Mapping[int, Law] | None = None) -> Prediction:
    """Forecast the budget of a model.

    Args:
        spec: the model.
        inputs: tensor -> its law, of the model's inputs; those not named are taken for standard normal.

    Returns:
        The budget of the median seed, with a 95% band.
    """
    laws = {i.tensor: Law(0.0, 1.0, "standard normal") for i in spec.inputs if not i.integer}
    sizes = {t: math.prod(spec.tensors[t]) for t in spec.outputs}
    whole = sum(sizes.values()) or 1
    starts = {t: n / whole for t, n in sizes.items()}
    with np.errstate(all="ignore"):  # weights large enough overflow here as they do there
        found = propagate(spec, laws | dict(inputs or {}), starts)
    return _Predicting(spec, found).result()


class _Predicting:
    """From a propagation to a prediction."""

    def __init__(self, spec: ModelSpec, found: Propagation) -> None:
        self.spec, self.found = spec, found
        self.gains = {node.name: self._gain(node) for node in spec.nodes}

    def _gain(self, node: Node) -> OperationGain:
        """Of a composite: what its inner operations do at its own inputs and outputs."""
        if not isinstance(node.op, Composite):
            return self.found.gains[node.name]
        inner = [self._gain(n) for n in node.op.nodes]
        made = OperationGain()
        for t in node.inputs:
            parts = [p.below[t] for p in inner if t in p.below]
            if parts:
                made.below[t] = together(parts)
        for t in node.outputs:
            made.above[t] = next((p.above[t] for p in reversed(inner) if t in p.above), NOTHING)
        top = max((level.spread for level in made.above.values()), default=0.0)
        made.grown = max([level.spread for level in made.below.values()] + [top]) - top
        return made

    def result(self) -> Prediction:
        levels, terms = {}, {}
        for node in self.spec.nodes:
            gain = self.gains[node.name]
            above, below = together(gain.above.values()), together(gain.below.values())
            if above.energy <= 0:
                continue
            levels[node.name] = _band(above)
            if below.energy > 0:
                ratio = _median(below) - _median(above)
                reach = _QUANTILE * math.hypot(math.sqrt(gain.grown) / 2, _TERM_ERROR)
                terms[node.name] = Band(ratio - reach, ratio, ratio + reach)
        bottom = [
            self.found.sources[i.tensor] for i in self.spec.inputs if i.tensor in self.found.sources
        ]
        if not bottom:  # token ids: the gradient ends at their embeddings
            ends = [self.gains[n.name] for n in self.spec.nodes]
            bottom = [together(p.above.values()) for p in ends if not p.below]
        total = _band(together(bottom)) if bottom else Band(math.nan, math.nan, math.nan)
        return Prediction(self._expected(), levels, terms, total, self.found.unknown)

    def _expected(self) -> Probe:
        spec = self.spec
        return Probe(
            frontend=spec.frontend,
            backend=spec.backend,
            versions=spec.versions,
            model=spec.model,
            batch_size=_batch_size(spec),
            inputs=tuple(self._inputs()),
            outputs=tuple(self._port(t, self.found.sources.get(t, NOTHING)) for t in spec.outputs),
            operations=tuple(self._operation(node) for node in spec.nodes),
            weights=tuple(
                Weight(w.name, _figures(w.shape, w.law.mean, w.law.rms, 0.0), w.fan_in)
                for w in spec.weights
            ),
            loss=Loss("unknown", math.nan, known=False),
            notes=spec.notes + self._notes(),
            spec=spec,
        )

    def _notes(self) -> tuple[str, ...]:
        unknown = tuple(
            msg(
                "no rule for {name}: {reason}; its term carries a wide band",
                name=name,
                reason=reason,
            )
            for name, reason in self.found.unknown.items()
        )
        return unknown + self._overflow() + steep_constants(self.spec)

    def _overflow(self) -> tuple[str, ...]:
        """Infinite is an answer, NaN is none."""
        if not any(
            math.isnan(level.energy) for p in self.gains.values() for level in p.above.values()
        ):
            return ()
        fields = self.found.fields
        for node in self.spec.nodes:
            if not all(math.isfinite(fields[t].square) for t in node.outputs):
                return (
                    msg(
                        "the forecast overflows at {name}: some levels are not known",
                        name=node.name,
                    ),
                )
        return (msg("the forecast overflows on the way back: some levels are not known"),)

    def _inputs(self) -> list[Input]:
        found = []
        for i in self.spec.inputs:
            shape = self.spec.tensors[i.tensor]
            field = self.found.fields.get(i.tensor)
            value = _figures(shape, 0.0, 0.0, 0.0) if field is None else _of(field)
            level = self.found.sources.get(i.tensor)
            port = None if i.integer or level is None else self._port(i.tensor, level)
            found.append(Input(i.name, value, port))
        return found

    def _port(self, tensor: int, level: GradientLevel) -> Port:
        if math.isnan(level.energy):
            return Port(tensor, math.nan)
        return Port(tensor, math.exp(_median(level)) if level.energy > 0 else 0.0)

    def _operation(self, node: Node) -> Operation:
        gain = self.gains[node.name]
        first = self.found.fields[node.outputs[0]]
        above = together(gain.above.values())
        size = max(math.prod(self.spec.tensors[node.outputs[0]]), 1)
        rms = math.exp(_median(above)) / math.sqrt(size) if above.energy > 0 else 0.0
        return Operation(
            name=node.name,
            layer=node.layer,
            kind=node.kind,
            type=node.type,
            inputs=tuple(self._port(t, level) for t, level in gain.below.items()),
            outputs=tuple(self._port(t, gain.above[t]) for t in node.outputs),
            forward=_of(first),
            backward=_figures(first.shape, 0.0, rms, 0.0),
            weights=node.weights,
            source=node.source,
        )


def _batch_size(spec: ModelSpec) -> int:
    shapes = [spec.tensors[i.tensor] for i in spec.inputs if spec.tensors[i.tensor]]
    return shapes[0][0] if shapes else 1


def _of(field: Field) -> Summary:
    zeros = float(((field.values == 0) @ WEIGHTS) @ field.sizes / field.sizes.sum())
    constant = np.ptp(field.values) == 0
    return _figures(
        field.shape, field.average, math.sqrt(max(field.square, 0.0)), 0.0 if constant else zeros
    )


def _figures(shape: Shape, mean: float, rms: float, zeros: float) -> Summary:
    """The largest of n normal values is about sqrt(2 log n) standard deviations out."""
    largest = rms * math.sqrt(2 * math.log(max(math.prod(shape), 2)))
    return Summary(shape, mean, rms, largest, zeros, 0.0)


def _median(level: GradientLevel) -> float:
    """Median of the log of a norm."""
    return (math.log(level.energy) - level.spread / 2) / 2


def _band(level: GradientLevel) -> Band:
    if level.energy <= 0:
        return Band(-math.inf, -math.inf, -math.inf)
    median = _median(level)
    error = math.hypot(_ERROR, _LAYER_ERROR * level.depth)
    reach = _QUANTILE * math.hypot(math.sqrt(level.spread) / 2, error)
    return Band(median - reach, median, median + reach)
