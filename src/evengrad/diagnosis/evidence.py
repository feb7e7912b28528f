"""What the rules are given: a probe, its budget and its causes, worked out once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evengrad.diagnosis.budget import Block, Budget, budget
from evengrad.diagnosis.causes import Shares, attribute
from evengrad.values.finding import Cause
from evengrad.values.probe import Probe

DRIFT = math.log(1e3)
"""Three decades between one end of the network and the other. TheDeepChecker (2204.00694) calls
updates of 1e-4 to 1e-1 of the weights healthy: with a wider drift no single learning rate puts
both ends inside that window. AutoTrainer's figure for vanishing, 1e-3, is the same."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A probe with its arithmetic. still: the loss of a run from there is known not to have fallen."""

    probe: Probe
    budget: Budget
    shares: Shares
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

    def lowest_layer(self, block: Block) -> str:
        """The layer of a block that is nearest to the inputs."""
        return next(op.layer for op in self.probe.operations if op.name == block.operations[0])

    def share(self, cause: Cause) -> float:
        """That cause's part of the total log growth, 0 if it has none."""
        return self.shares.by_cause.get(cause, 0.0)

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
    return Evidence(probe, split, attribute(probe, split), still)
