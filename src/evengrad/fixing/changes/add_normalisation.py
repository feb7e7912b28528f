"""A normalisation behind layers (Ioffe 2015, 1502.03167; Ba 2016, 1607.06450; Wu 2018, 1803.08494)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from evengrad.fixing.wording import some
from evengrad.values.change import Advice, Change

NormKind = Literal["batch", "layer", "group"]


@dataclass(frozen=True, slots=True)
class AddNormalisation(Change):
    """A normalisation behind each of these weighted layers, before their activation."""

    stage: ClassVar[int] = 60
    patch_stage: ClassVar[int] = 0
    kind: NormKind
    layers: tuple[str, ...]

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.network import normalise

        normalise(live, self.kind, self.layers)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.normalise import normalise

        normalise(live, self.kind, self.layers)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.normalise import normalise

        normalise(draft, self.kind, self.layers)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.normalise import normalise

        normalise(draft, self.kind, self.layers)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        code = f"a {self.kind} normalisation behind {some(self.layers)}, before the activation"
        return Advice(code, "in the model", "add")
