"""Makes changes in a live model and its optimizer, in the moment before the first training step."""

from __future__ import annotations

from collections.abc import Sequence

from evengrad.adapters.torch.change.model import LiveTraining
from evengrad.values.change import Change


def apply(live: LiveTraining, changes: Sequence[Change]) -> None:
    """All of them, in order. Raises CannotChangeError."""
    for change in changes:
        change.live_torch(live)
