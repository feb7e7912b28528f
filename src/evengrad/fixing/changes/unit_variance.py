"""Weights scaled on the first batch (LSUV, Mishkin 2015, 1511.06422)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.fixing.wording import MODEL, some
from evengrad.values.change import Advice, Change


@dataclass(frozen=True, slots=True)
class UnitVariance(Change):
    """Draw the weights of some layers orthogonal, then divide each by the standard deviation of its layer's
    output on the first batch, in forward order; biases become zero.
    """

    stage: ClassVar[int] = 90
    layers: tuple[str, ...]

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.weights import unit_variance

        unit_variance(live, self.layers)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.weights import unit_variance

        unit_variance(live, self.layers)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.unit_variance import unit_variance

        unit_variance(draft, self.layers)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.unit_variance import unit_variance

        unit_variance(draft, self.layers)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        code = "weights divided by the standard deviation of the layer's output on one batch"
        return Advice(f"{code}, from the first to the last of {some(self.layers)}", MODEL, "add")
