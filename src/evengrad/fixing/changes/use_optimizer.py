"""Another optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from evengrad.fixing.wording import OPTIMIZER, WRITE, number
from evengrad.values.change import Advice, Change, calls

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

    live_torch = calls("evengrad.adapters.torch.change.rate:optimizer")
    live_keras = calls("evengrad.adapters.keras.change.optimizer:optimizer")
    write_torch = calls("evengrad.fixing.patch.torch.optimizer:use_optimizer")
    write_keras = calls("evengrad.fixing.patch.keras.optimizer:use_optimizer")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        name, rate = _CLASSES[self.name], number(self.rate)
        code = f"torch.optim.{name}(model.parameters(), lr={rate})"
        if keras:
            code = f"keras.optimizers.{name}(learning_rate={rate})"
        return Advice(code, OPTIMIZER, WRITE)
