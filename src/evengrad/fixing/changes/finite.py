"""Inputs without NaN and infinity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.values.change import Advice, Change


@dataclass(frozen=True, slots=True)
class Finite(Change):
    """Values of the inputs that are not finite become 0."""

    stage: ClassVar[int] = 20

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.network import finite

        finite(live)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.ends import finite

        finite(live)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.inputs import finite_inputs

        finite_inputs(draft)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.finite import finite_inputs

        finite_inputs(draft)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        code = "np.nan_to_num(x, posinf=0, neginf=0)" if keras else "torch.nan_to_num(x, 0, 0, 0)"
        return Advice(f"x = {code}", "where the inputs are made", "add")
