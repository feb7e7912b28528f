"""Logits for a loss that takes logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import WRITE
from evengrad.values.change import Advice, Change, calls
from evengrad.values.message import msg


@dataclass(frozen=True, slots=True)
class Logits(Change):
    """The loss takes logits. from_logits: the network gives logits, and the loss must be told (Keras); else
    the closing softmax or sigmoid is taken away, for the loss applies it itself (PyTorch).
    """

    stage: ClassVar[int] = 10
    substitutes: ClassVar[bool] = True
    from_logits: bool

    live_torch = calls("evengrad.adapters.torch.change.network:logits")
    live_keras = calls("evengrad.adapters.keras.change.ends:logits")
    write_torch = calls("evengrad.fixing.patch.torch.logits:use_logits")
    write_keras = calls("evengrad.fixing.patch.keras.logits:use_logits")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        if not self.from_logits:
            code = msg("the logits without softmax or sigmoid")
            return Advice(code, msg("at the end of the network"), msg("return"))
        logits = msg("a loss of logits (CrossEntropyLoss, BCEWithLogitsLoss)")
        return Advice("from_logits=True" if keras else logits, msg("where the loss is made"), WRITE)
