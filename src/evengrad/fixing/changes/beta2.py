"""Another memory of squared gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.values.change import Advice, Change


@dataclass(frozen=True, slots=True)
class Beta2(Change):
    """Adam's memory of squared gradients."""

    stage: ClassVar[int] = 140
    value: float

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.rate import beta2

        beta2(live, self.value)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.optimizer import beta2

        beta2(live, self.value)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.beta2 import set_beta2

        set_beta2(draft, self.value)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.beta2 import set_beta2

        set_beta2(draft, self.value)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        code = f"beta_2={self.value!r}" if keras else f"betas=(0.9, {self.value!r})"
        return Advice(code, "where Adam is made", "write")
