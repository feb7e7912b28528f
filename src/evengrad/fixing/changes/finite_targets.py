"""Targets without NaN and infinity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import finite
from evengrad.values.change import Advice, Change, calls


@dataclass(frozen=True, slots=True)
class FiniteTargets(Change):
    """Values of a regression's targets that are not finite become 0."""

    stage: ClassVar[int] = 30

    live_torch = calls("evengrad.adapters.torch.change.network:finite_targets")
    live_keras = calls("evengrad.adapters.keras.change.ends:finite_targets")
    write_torch = calls("evengrad.fixing.patch.torch.finite:finite_targets")
    write_keras = calls("evengrad.fixing.patch.keras.finite:finite_targets")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        return finite("y", "targets", keras=keras)
