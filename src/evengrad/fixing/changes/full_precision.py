"""All of a training in float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import WRITE
from evengrad.values.change import Advice, Change, calls
from evengrad.values.message import msg


@dataclass(frozen=True, slots=True)
class FullPrecision(Change):
    """Everything is computed in float32, without autocast or a mixed policy."""

    stage: ClassVar[int] = 5

    live_torch = calls("evengrad.adapters.torch.change.precision:full")
    live_keras = calls("evengrad.adapters.keras.change.precision:full")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        if keras:
            return Advice(
                'keras.config.set_dtype_policy("float32")', msg("before the model"), WRITE
            )
        return Advice("enabled=False", msg("in torch.autocast(...)"), WRITE)
