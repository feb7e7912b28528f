"""A normalisation behind layers (Ioffe 2015, 1502.03167; Ba 2016, 1607.06450; Wu 2018, 1803.08494)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from evengrad.fixing.wording import ADD, IN_MODEL, some
from evengrad.values.change import Advice, Change, calls
from evengrad.values.message import msg

NormKind = Literal["batch", "layer", "group"]


@dataclass(frozen=True, slots=True)
class AddNormalisation(Change):
    """A normalisation behind each of these weighted layers, before their activation."""

    stage: ClassVar[int] = 60
    patch_stage: ClassVar[int] = 0
    kind: NormKind
    layers: tuple[str, ...]

    live_torch = calls("evengrad.adapters.torch.change.network:normalise")
    live_keras = calls("evengrad.adapters.keras.change.normalise:normalise")
    write_torch = calls("evengrad.fixing.patch.torch.normalise:normalise")
    write_keras = calls("evengrad.fixing.patch.keras.normalise:normalise")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        code = msg(
            "a {kind} normalisation behind {layers}, before the activation",
            kind=self.kind,
            layers=some(self.layers),
        )
        return Advice(code, IN_MODEL, ADD)
