"""Targets without NaN and infinity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.values.change import Advice, Change


@dataclass(frozen=True, slots=True)
class FiniteTargets(Change):
    """Values of a regression's targets that are not finite become 0."""

    stage: ClassVar[int] = 30

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.network import finite_targets

        finite_targets(live)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.ends import finite_targets

        finite_targets(live)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.finite import finite_targets

        finite_targets(draft)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.finite import finite_targets

        finite_targets(draft)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        code = "np.nan_to_num(y, posinf=0, neginf=0)" if keras else "torch.nan_to_num(y, 0, 0, 0)"
        return Advice(f"y = {code}", "where the targets are made", "add")
