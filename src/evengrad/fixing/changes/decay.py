"""A learning rate that falls towards the end (Loshchilov 2016, 1608.03983)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.fixing.wording import OPTIMIZER, scheduler
from evengrad.values.change import Advice, Change


@dataclass(frozen=True, slots=True)
class Decay(Change):
    """The learning rate falls as a half cosine to zero over ``steps`` updates."""

    stage: ClassVar[int] = 160
    patch_stage: ClassVar[int] = 50  # reads the rate
    scheduled: ClassVar[bool] = True
    steps: int

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.rate import decay

        decay(live, self.steps)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.rate import decay

        decay(live, self.steps)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.schedule import decay

        decay(draft, self.steps)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.schedule import decay

        decay(draft, self.steps)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        if keras:
            code = f"keras.optimizers.schedules.CosineDecay(rate, decay_steps={self.steps})"
            return Advice(f"learning_rate={code}", OPTIMIZER, "write")
        return scheduler("decay", f"CosineAnnealingLR(optimizer, T_max={self.steps})")
