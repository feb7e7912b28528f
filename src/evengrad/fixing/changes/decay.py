"""A learning rate that falls towards the end (Loshchilov 2016, 1608.03983)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import OPTIMIZER, WRITE, scheduler
from evengrad.values.change import Advice, Change, calls


@dataclass(frozen=True, slots=True)
class Decay(Change):
    """The learning rate falls as a half cosine to zero over ``steps`` updates."""

    stage: ClassVar[int] = 160
    patch_stage: ClassVar[int] = 50  # reads the rate
    scheduled: ClassVar[bool] = True
    steps: int

    live_torch = calls("evengrad.adapters.torch.change.rate:decay")
    live_keras = calls("evengrad.adapters.keras.change.rate:decay")
    write_torch = calls("evengrad.fixing.patch.torch.schedule:decay")
    write_keras = calls("evengrad.fixing.patch.keras.schedule:decay")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        if keras:
            code = f"keras.optimizers.schedules.CosineDecay(rate, decay_steps={self.steps})"
            return Advice(f"learning_rate={code}", OPTIMIZER, WRITE)
        return scheduler("decay", f"CosineAnnealingLR(optimizer, T_max={self.steps})")
