"""Weights scaled on the first batch (LSUV, Mishkin 2015, 1511.06422)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import ADD, MODEL, some
from evengrad.values.change import Advice, Change, calls
from evengrad.values.message import msg


@dataclass(frozen=True, slots=True)
class UnitVariance(Change):
    """Draw the weights of some layers orthogonal, then divide each by the standard deviation of its layer's
    output on the first batch, in forward order; biases become zero.
    """

    stage: ClassVar[int] = 90
    layers: tuple[str, ...]

    live_torch = calls("evengrad.adapters.torch.change.weights:unit_variance")
    live_keras = calls("evengrad.adapters.keras.change.weights:unit_variance")
    write_torch = calls("evengrad.fixing.patch.torch.unit_variance:unit_variance")
    write_keras = calls("evengrad.fixing.patch.keras.unit_variance:unit_variance")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        code = msg(
            "weights divided by the standard deviation of the layer's output on one batch, "
            "from the first to the last of {layers}",
            layers=some(self.layers),
        )
        return Advice(code, MODEL, ADD)
