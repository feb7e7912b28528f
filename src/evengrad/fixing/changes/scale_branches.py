"""Residual branches times a factor (depth-muP: Yang 2023, 2310.02244; CompleteP: Dey 2025, 2505.01618)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import WRITE, number, some
from evengrad.values.change import Advice, Change, calls
from evengrad.values.message import msg


@dataclass(frozen=True, slots=True)
class ScaleBranches(Change):
    """What these layers give, the last ones of residual branches, is multiplied before it is added.

    Attributes:
        layers: their names.
        factor: of each branch, such as 1 / sqrt(branches).
    """

    stage: ClassVar[int] = 65  # behind what changes the network
    layers: tuple[str, ...]
    factor: float

    live_torch = calls("evengrad.adapters.torch.change.network:scale_outputs")
    live_keras = calls("evengrad.adapters.keras.change.scale:scale_outputs")
    write_torch = calls("evengrad.fixing.patch.torch.scale:scale_outputs")
    write_keras = calls("evengrad.fixing.patch.keras.scale:scale_outputs")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        code = msg(
            "x + {factor} * f(x) instead of x + f(x), f ending with {layers}",
            factor=number(self.factor),
            layers=some(self.layers),
        )
        return Advice(code, msg("in each residual block"), WRITE)
