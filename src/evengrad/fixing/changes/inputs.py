"""Standardised inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import ADD
from evengrad.values.change import Advice, Change, calls
from evengrad.values.message import msg


@dataclass(frozen=True, slots=True)
class StandardiseInputs(Change):
    """The inputs less ``mean``, divided by ``std``."""

    stage: ClassVar[int] = 40
    mean: float
    std: float

    live_torch = calls("evengrad.adapters.torch.change.network:inputs")
    live_keras = calls("evengrad.adapters.keras.change.ends:inputs")
    write_torch = calls("evengrad.fixing.patch.torch.inputs:standardise")
    write_keras = calls("evengrad.fixing.patch.keras.inputs:standardise")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        code = f"x = (x - {self.mean:.4g}) / {self.std:.4g}"
        return Advice(code, msg("where the inputs are made"), ADD)
