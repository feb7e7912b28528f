"""A learning rate that follows the loss (Alimisis 2025, 2510.03164)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.fixing.wording import ADD, BEFORE_STEP, WRITE, number
from evengrad.values.change import Advice, Change
from evengrad.values.message import msg


@dataclass(frozen=True, slots=True)
class RateByLoss(Change):
    """The learning rate is 1 / (base + per_loss * loss), and at most ``highest``. first: the first loss."""

    stage: ClassVar[int] = 155
    patch_stage: ClassVar[int] = 60
    scheduled: ClassVar[bool] = True
    sets_rate: ClassVar[bool] = True
    highest: float
    base: float
    per_loss: float
    first: float

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.rate import by_loss

        by_loss(live, self.highest, self.base, self.per_loss)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.rate import by_loss

        by_loss(live, self.highest, self.base, self.per_loss, self.first)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.by_loss import rate_by_loss

        rate_by_loss(draft, self.formula)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.by_loss import rate_by_loss

        rate_by_loss(draft, self.formula, number(self.first))

    def formula(self, loss: str) -> str:
        """As a script writes it. loss: an expression."""
        terms = f"{number(self.base)} + {number(self.per_loss)} * {loss}"
        return f"min({number(self.highest)}, 1 / ({terms}))"

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        if keras:
            loss = 'logs["loss"]'
            code = f"self.model.optimizer.learning_rate = {self.formula(loss)}"
            return Advice(code, msg("in a callback's on_train_batch_end()"), WRITE)
        code = f'for group in optimizer.param_groups: group["lr"] = {self.formula("loss.item()")}'
        return Advice(code, BEFORE_STEP, ADD)
