"""A learning rate that rises at first (Goyal 2017, 1706.02677)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.fixing.wording import OPTIMIZER, scheduler
from evengrad.values.change import Advice, Change


@dataclass(frozen=True, slots=True)
class Warmup(Change):
    """The learning rate rises linearly from rate / steps to the script's own in the first ``steps`` updates."""

    stage: ClassVar[int] = 150
    patch_stage: ClassVar[int] = 60  # reads the rate, and the schedule of Decay
    scheduled: ClassVar[bool] = True
    steps: int

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.rate import warmup

        warmup(live, self.steps)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.rate import warmup

        warmup(live, self.steps)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.schedule import warmup

        warmup(draft, self.steps)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.schedule import warmup

        warmup(draft, self.steps)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        end = f"{self.steps - 1}"
        if keras:
            code = (
                f"PolynomialDecay(rate / {self.steps}, decay_steps={end}, end_learning_rate=rate)"
            )
            return Advice(f"learning_rate=keras.optimizers.schedules.{code}", OPTIMIZER, "write")
        code = f"LinearLR(optimizer, start_factor=1 / {self.steps}, total_iters={end})"
        return scheduler("warmup", code)
