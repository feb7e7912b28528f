"""What the rules are given: a probe, its budget and its causes, worked out once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from evengrad.diagnosis.budget import Block, Budget, budget
from evengrad.diagnosis.bypasses import bypassed
from evengrad.diagnosis.causes import Shares, attribute
from evengrad.values.finding import Cause
from evengrad.values.probe import Operation, Probe, Weight, log_ratio
from evengrad.values.spec import Kind
from evengrad.values.summary import root_sum_squares

DRIFT = math.log(1e3)
"""Three decades between one end of the network and the other. TheDeepChecker (2204.00694) calls
updates of 1e-4 to 1e-1 of the weights healthy: with a wider drift no single learning rate puts
both ends inside that window. AutoTrainer's figure for vanishing, 1e-3, is the same."""


@dataclass(frozen=True)
class Evidence:
    """A probe with its arithmetic.

    Attributes:
        probe: what was measured.
        budget: its total, split by operation.
        shares: and by cause.
        bypassed: the operations that a shorter path goes round.
        still: the loss of a run from there is known not to have fallen.
    """

    probe: Probe
    budget: Budget
    shares: Shares
    bypassed: frozenset[str] = frozenset()
    still: bool = False

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The budget's blocks, forward order, from the first one with weights on: what becomes of the gradient
        behind that (a division of the inputs by 255) trains nothing.
        """
        weighted = {op.name for op in self.probe.operations if op.weights}
        found = self.budget.blocks
        first = next((i for i, b in enumerate(found) if weighted & set(b.operations)), len(found))
        return found[first:]

    @property
    def levels(self) -> tuple[tuple[Block, float], ...]:
        """Those blocks with the log of the gradient at their lower end against the outputs'.

        Where a normalisation that nothing goes round lies above, the scale of the values there means nothing
        (the loss is the same whatever it is), and the gradient is as much smaller as they are larger: it is
        taken for values of rms 1. Between weights and the normalisation that takes their scale out there is no
        level, and none below one that is not known.
        """
        found: list[tuple[Block, float]] = []
        absorbed = False
        for block in reversed(self.blocks):
            bottom = self._operations[block.operations[0]]
            absorbed |= self._normalises(block)
            if math.isnan(block.bottom):
                break
            between = bottom.kind is Kind.NORMALISATION and self._made_by_absorbed(bottom)
            if not between:
                size = self.rms_into(bottom) if absorbed else 1.0
                found.append((block, block.bottom + (math.log(size) if size > 0 else 0.0)))
        return tuple(reversed(found))

    def operation(self, name: str) -> Operation:
        """The one of that name."""
        return self._operations[name]

    @cached_property
    def layered(self) -> bool:
        """Whether there are layers to speak of: two operations with weight matrices at least."""
        found = [op for op in self.probe.operations if self.matrices(op)]
        return len(found) > 1

    def largest_term(self, sign: float) -> Operation:
        """The operation that does most to the gradient in the direction of that sign."""
        terms = self.budget.terms
        return self._operations[max(terms, key=lambda name: sign * terms[name])]

    def is_last(self, op: Operation) -> bool:
        """Whether no weights lie between it and the outputs."""
        return op.name in self._last

    @cached_property
    def _last(self) -> frozenset[str]:
        wanted = {port.tensor for port in self.probe.outputs}
        found = set()
        for op in reversed(self.probe.operations):
            if wanted.intersection(port.tensor for port in op.outputs):
                if op.kind is Kind.WEIGHTS:
                    found.add(op.name)
                else:
                    wanted.update(port.tensor for port in op.inputs)
        return frozenset(found)

    @cached_property
    def _operations(self) -> dict[str, Operation]:
        return {op.name: op for op in self.probe.operations}

    @cached_property
    def _makers(self) -> dict[int, Operation]:
        return {port.tensor: op for op in self.probe.operations for port in op.outputs}

    def _made_by_absorbed(self, op: Operation) -> bool:
        makers = [self._makers.get(port.tensor) for port in op.inputs]
        return any(maker is not None and maker.name in self.shares.absorbed for maker in makers)

    def rms_into(self, op: Operation) -> float:
        """Root mean square of what an operation reads, of the first of its inputs that is known; 1 where none
        is.
        """
        for port in op.inputs:
            maker = self._makers.get(port.tensor)
            if maker is not None:
                return maker.forward.rms
            for given in self.probe.inputs:
                if given.port is not None and given.port.tensor == port.tensor:
                    return given.value.rms
        return 1.0

    def lowest_layer(self, block: Block) -> str:
        """The layer of a block that is nearest to the inputs."""
        return self._operations[block.operations[0]].layer

    def share(self, cause: Cause) -> float:
        """That cause's part of the total log growth, 0 if it has none."""
        return self.shares.by_cause.get(cause, 0.0)

    def plain(self, cause: Cause) -> float:
        """That cause's part of the growth in what no shorter path goes round."""
        return sum(
            parts.get(cause, 0.0)
            for name, parts in self.shares.by_operation.items()
            if name not in self.bypassed
        )

    def matrices(self, op: Operation) -> tuple[Weight, ...]:
        """Its weights that have a fan-in: no biases, scales or embeddings."""
        own = (self._weights[name] for name in op.weights if name in self._weights)
        return tuple(weight for weight in own if weight.fan_in is not None)

    @cached_property
    def _weights(self) -> dict[str, Weight]:
        return {weight.name: weight for weight in self.probe.weights}

    def scale_taken_out(self, op: Operation) -> float:
        """Of a normalisation: the log of the factor by which it enlarges its input; 0 where weights straight
        before it made it so small.
        """
        before, after = self.rms_into(op), op.forward.rms
        if self._made_by_absorbed(op) or not (before > 0 and after > 0):
            return 0.0
        return math.log(after / before)

    def feels_scale(self, name: str) -> bool:
        """Whether an operation has weights, and their scale is not taken out by a normalisation behind them."""
        op = self._operations[name]
        return (
            bool(op.weights)
            and name not in self.shares.absorbed
            and op.kind is not Kind.NORMALISATION
        )

    def real(self, sign: float) -> float:
        """The log of the largest growth (sign 1) or fading (sign -1) measured at a cut point, 0 or more.

        A cause's share may be more than that: others can be against it.
        """
        return max([sign * block.bottom for block, _ in self.levels], default=0.0)

    @property
    def felt(self) -> tuple[tuple[Operation, float], ...]:
        """The operations with weight matrices that feel the scale of their gradient, with the log of that
        gradient at their output against the outputs'; as in ``levels`` it is taken for values of rms 1. What
        does not arrive in the weights' own gradient, as in rows of padding, does not count.
        """
        found: list[tuple[Operation, float]] = []
        absorbed = False
        top = root_sum_squares(port.norm for port in self.probe.outputs)
        for block in reversed(self.blocks):
            own = [self._operations[name] for name in block.operations]
            for op in own:
                if self.matrices(op) and self.feels_scale(op.name):
                    size = op.forward.rms if absorbed and op.forward.rms > 0 else 1.0
                    norm = root_sum_squares(port.norm for port in op.outputs)
                    norm = min(norm, _MASKED * self._arrived(op))
                    found.append((op, log_ratio(norm, top) + math.log(size)))
            absorbed |= self._normalises(block)
        return tuple(found)

    def _arrived(self, op: Operation) -> float:
        """The norm of the gradient of its weight matrices, for inputs of rms 1: that of the gradient at its
        output and more, where the weights use all of it. inf where not known.
        """
        own = [w.gradient for w in self.matrices(op) if w.gradient is not None]
        size = self.rms_into(op)
        if not own or not size > 0:
            return math.inf
        return root_sum_squares(g.rms * math.sqrt(math.prod(g.shape)) for g in own) / size

    def _normalises(self, block: Block) -> bool:
        return any(
            self._operations[name].kind is Kind.NORMALISATION and name not in self.bypassed
            for name in block.operations
        )

    def begins_at_zero(self, op: Operation) -> bool:
        """Whether it passes next to no gradient yet, by design: what it multiplies by is zero and has a
        gradient, or it is a scale, or the last layer, and the coming step changes it by more than itself.
        """
        own = [self._weights[name] for name in op.weights if name in self._weights]
        matrices = self.matrices(op)
        if self.is_last(op) and matrices:
            return any(_opens(weight) for weight in matrices)
        if not matrices and op.kind is not Kind.NORMALISATION:
            return any(_opens(weight) for weight in own)
        factors = matrices or (own if op.forward.rms == 0 else ())
        return any(_opens(weight) for weight in factors if weight.value.rms == 0)

    def without_beginnings(self, block: Block, level: float) -> float:
        """A block's level as if what begins at zero, there or above, let all through."""
        terms = self._beginnings[block.operations[0]]
        if terms is None:
            return level
        return 0.0 if level == -math.inf else level - min(terms, 0.0)

    @cached_property
    def _beginnings(self) -> dict[str, float | None]:
        """A block's first operation -> the terms of all that begins at zero, there or above; None without."""
        found: dict[str, float | None] = {}
        total: float | None = None
        for block in reversed(self.budget.blocks):
            for name in block.operations:
                if self.begins_at_zero(self._operations[name]):
                    total = (total or 0.0) + self.budget.terms.get(name, 0.0)
            found[block.operations[0]] = total
        return found

    def causes(self, sign: float) -> tuple[Cause, ...]:
        """The cause with the largest share in the direction of that sign, then all others whose share
        alone exceeds the drift.
        """
        main = self.main_cause(sign)
        parts = self.shares.by_cause.items()
        return (main, *(c for c, part in parts if c is not main and sign * part > DRIFT))

    def main_cause(self, sign: float) -> Cause:
        """The cause with the largest share in the direction of that sign."""
        return max(self.shares.by_cause.items(), key=lambda item: sign * item[1])[0]


def evidence(probe: Probe, *, still: bool = False) -> Evidence:
    """Work out budget and causes of a probe."""
    split = budget(probe)
    return Evidence(probe, split, attribute(probe, split), bypassed(probe, split), still)


_MASKED = 10.0
"""So many times the norm in the weights' gradient, and a gradient at their output is nearly all masked."""


def _opens(weight: Weight) -> bool:
    """Whether the coming step makes another weight of it."""
    if weight.gradient is None or weight.gradient.rms == 0:
        return False
    return weight.value.rms == 0 or (weight.update or 0.0) > weight.value.rms
