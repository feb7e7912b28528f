"""Weight matrices times a factor: a fault that is planted, never a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.fixing.wording import ADD, MODEL, number
from evengrad.values.change import Advice, Change
from evengrad.values.message import msg


@dataclass(frozen=True, slots=True)
class ScaleWeights(Change):
    """Every weight matrix begins ``factor`` times as large as the script makes it."""

    stage: ClassVar[int] = 75  # before Initialise, which draws anew
    factor: float

    def live_torch(self, live: Any) -> None:
        """See Change."""
        for parameter in live.model.parameters():
            if parameter.ndim > 1:
                parameter.data.mul_(self.factor)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        for variable in live.model.trainable_variables:
            if len(variable.shape) > 1:
                variable.assign(variable * self.factor)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        factor = number(self.factor)
        code = f"w.assign(w * {factor})" if keras else f"w.data.mul_({factor})"
        return Advice(msg("{code} for each weight matrix w", code=code), MODEL, ADD)
