"""Another learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import OPTIMIZER, WRITE, number
from evengrad.values.change import Advice, Change, calls


@dataclass(frozen=True, slots=True)
class SetRate(Change):
    """Another learning rate: what the optimizer starts with; a schedule of the script's is scaled alike."""

    stage: ClassVar[int] = 130
    value: float

    live_torch = calls("evengrad.adapters.torch.change.rate:rate")
    live_keras = calls("evengrad.adapters.keras.change.rate:rate")
    write_torch = calls("evengrad.fixing.patch.torch.rate:set_rate")
    write_keras = calls("evengrad.fixing.patch.keras.rate:set_rate")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        word = "learning_rate" if keras else "lr"
        return Advice(f"{word}={number(self.value)}", OPTIMIZER, WRITE)
