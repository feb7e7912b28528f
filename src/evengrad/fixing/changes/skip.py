"""Residual connections that begin as the identity (SkipInit, De 2020, 2002.10444)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.fixing.wording import some
from evengrad.values.change import Advice, Change


@dataclass(frozen=True, slots=True)
class Skip(Change):
    """A residual connection around each of these weighted layers, before the activation: ``x + a f(x)`` with a
    trained scalar a that begins at 0. Input and output have one shape.
    """

    stage: ClassVar[int] = 70
    patch_stage: ClassVar[int] = 10
    layers: tuple[str, ...]

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.skip import skip

        skip(live, self.layers)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.skip import skip

        skip(live, self.layers)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.skip import skip

        skip(draft, self.layers)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.skip import skip

        skip(draft, self.layers)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        code = (
            f"x + a * f(x) for f in {some(self.layers)}, with a trained scalar a that begins at 0"
        )
        return Advice(code, "in the model", "write")
