"""Another optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from evengrad.fixing.wording import OPTIMIZER, number
from evengrad.values.change import Advice, Change

OptimizerName = Literal["adam", "adamw", "rmsprop", "adagrad", "sgd"]
_CLASSES = {
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
    "sgd": "SGD",
}


@dataclass(frozen=True, slots=True)
class UseOptimizer(Change):
    """Another optimizer with its framework's defaults but for the rate."""

    stage: ClassVar[int] = 110
    name: OptimizerName
    rate: float

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.rate import optimizer

        optimizer(live, self.name, self.rate)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.optimizer import optimizer

        optimizer(live, self.name, self.rate)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.optimizer import use_optimizer

        use_optimizer(draft, self.name, self.rate)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.optimizer import use_optimizer

        use_optimizer(draft, self.name, self.rate)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        name, rate = _CLASSES[self.name], number(self.rate)
        code = f"torch.optim.{name}(model.parameters(), lr={rate})"
        if keras:
            code = f"keras.optimizers.{name}(learning_rate={rate})"
        return Advice(code, OPTIMIZER, "write")
