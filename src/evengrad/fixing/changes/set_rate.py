"""Another learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.fixing.wording import OPTIMIZER, number
from evengrad.values.change import Advice, Change


@dataclass(frozen=True, slots=True)
class SetRate(Change):
    """Another learning rate: what the optimizer starts with; a schedule of the script's is scaled alike."""

    stage: ClassVar[int] = 130
    value: float

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.rate import rate

        rate(live, self.value)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.rate import rate

        rate(live, self.value)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.rate import set_rate

        set_rate(draft, self.value)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.rate import set_rate

        set_rate(draft, self.value)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        word = "learning_rate" if keras else "lr"
        return Advice(f"{word}={number(self.value)}", OPTIMIZER, "write")
