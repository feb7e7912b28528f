"""Inputs without NaN and infinity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import finite
from evengrad.values.change import Advice, Change, calls


@dataclass(frozen=True, slots=True)
class Finite(Change):
    """Values of the inputs that are not finite become 0."""

    stage: ClassVar[int] = 20

    live_torch = calls("evengrad.adapters.torch.change.network:finite")
    live_keras = calls("evengrad.adapters.keras.change.ends:finite")
    write_torch = calls("evengrad.fixing.patch.torch.inputs:finite_inputs")
    write_keras = calls("evengrad.fixing.patch.keras.finite:finite_inputs")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        return finite("x", "inputs", keras=keras)
