"""Another memory of squared gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import WRITE
from evengrad.values.change import Advice, Change, calls
from evengrad.values.message import msg


@dataclass(frozen=True, slots=True)
class Beta2(Change):
    """Adam's memory of squared gradients."""

    stage: ClassVar[int] = 140
    value: float

    live_torch = calls("evengrad.adapters.torch.change.rate:beta2")
    live_keras = calls("evengrad.adapters.keras.change.optimizer:beta2")
    write_torch = calls("evengrad.fixing.patch.torch.beta2:set_beta2")
    write_keras = calls("evengrad.fixing.patch.keras.beta2:set_beta2")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        code = f"beta_2={self.value!r}" if keras else f"betas=(0.9, {self.value!r})"
        return Advice(code, msg("where Adam is made"), WRITE)
