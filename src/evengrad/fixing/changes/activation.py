"""Another activation in the hidden layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.values.change import Advice, Change


@dataclass(frozen=True, slots=True)
class Activation(Change):
    """Another activation wherever ``old`` is now, but not in the loss head. slope: of a leaky_relu's
    negative side.
    """

    stage: ClassVar[int] = 50
    substitutes: ClassVar[bool] = True
    old: str
    new: str
    slope: float | None = None

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.network import activation

        activation(live, self.old, self.new, self.slope)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.activation import activation

        activation(live, self.old, self.new, self.slope)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.activation import replace_activation

        replace_activation(draft, self.old, self.new, self.slope)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.activation import replace_activation

        replace_activation(draft, self.old, self.new, self.slope)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        rest = "" if self.slope is None else f" with a negative slope of {self.slope:.3g}"
        return Advice(f"{self.new}{rest} instead of {self.old}", "in each hidden layer", "write")
