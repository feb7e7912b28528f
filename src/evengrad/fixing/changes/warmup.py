"""A learning rate that rises at first (Goyal 2017, 1706.02677)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import OPTIMIZER, WRITE, scheduler
from evengrad.values.change import Advice, Change, calls


@dataclass(frozen=True, slots=True)
class Warmup(Change):
    """The learning rate rises linearly from rate / steps to the script's own in the first ``steps`` updates."""

    stage: ClassVar[int] = 150
    patch_stage: ClassVar[int] = 60  # reads the rate, and the schedule of Decay
    scheduled: ClassVar[bool] = True
    steps: int

    live_torch = calls("evengrad.adapters.torch.change.rate:warmup")
    live_keras = calls("evengrad.adapters.keras.change.rate:warmup")
    write_torch = calls("evengrad.fixing.patch.torch.schedule:warmup")
    write_keras = calls("evengrad.fixing.patch.keras.schedule:warmup")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        end = f"{self.steps - 1}"
        if keras:
            code = (
                f"PolynomialDecay(rate / {self.steps}, decay_steps={end}, end_learning_rate=rate)"
            )
            return Advice(f"learning_rate=keras.optimizers.schedules.{code}", OPTIMIZER, WRITE)
        code = f"LinearLR(optimizer, start_factor=1 / {self.steps}, total_iters={end})"
        return scheduler("warmup", code)
