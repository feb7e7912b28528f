"""Logits for a loss that takes logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.values.change import Advice, Change


@dataclass(frozen=True, slots=True)
class Logits(Change):
    """The loss takes logits. from_logits: the network gives logits, and the loss must be told (Keras); else
    the closing softmax or sigmoid is taken away, for the loss applies it itself (PyTorch).
    """

    stage: ClassVar[int] = 10
    substitutes: ClassVar[bool] = True
    from_logits: bool

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.network import logits

        logits(live, self.from_logits)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.ends import logits

        logits(live, self.from_logits)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.logits import use_logits

        use_logits(draft, self.from_logits)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.logits import use_logits

        use_logits(draft, self.from_logits)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        if not self.from_logits:
            return Advice(
                "the logits without softmax or sigmoid", "at the end of the network", "return"
            )
        code = "from_logits=True"
        if not keras:
            code = "a loss of logits (CrossEntropyLoss, BCEWithLogitsLoss)"
        return Advice(code, "where the loss is made", "write")
