"""Standardised inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.values.change import Advice, Change


@dataclass(frozen=True, slots=True)
class StandardiseInputs(Change):
    """The inputs less ``mean``, divided by ``std``."""

    stage: ClassVar[int] = 40
    mean: float
    std: float

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.network import inputs

        inputs(live, self.mean, self.std)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.ends import inputs

        inputs(live, self.mean, self.std)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.inputs import standardise

        standardise(draft, self.mean, self.std)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.inputs import standardise

        standardise(draft, self.mean, self.std)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        return Advice(
            f"x = (x - {self.mean:.4g}) / {self.std:.4g}", "where the inputs are made", "add"
        )
