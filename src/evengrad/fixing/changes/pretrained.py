"""Weights out of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import MODEL
from evengrad.values.change import Advice, Change, calls
from evengrad.values.message import msg


@dataclass(frozen=True, slots=True)
class Pretrained(Change):
    """Weights out of a file (safetensors, Keras', PyTorch's), wherever name and shape agree.

    factor: of the learning rate in the layers that were matched, 0 to freeze them.
    """

    stage: ClassVar[int] = 100
    patch_stage: ClassVar[int] = 50  # reads the rate
    trained: ClassVar[bool] = True
    file: str
    factor: float

    live_torch = calls("evengrad.adapters.torch.change.pretrained:pretrained")
    live_keras = calls("evengrad.adapters.keras.change.pretrained:pretrained")
    write_torch = calls("evengrad.fixing.patch.torch.pretrained:pretrained")
    write_keras = calls("evengrad.fixing.patch.keras.pretrained:pretrained")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        rate = msg("with {factor:g} times the learning rate", factor=self.factor)
        code = msg(
            "weights from {file!r} where name and shape agree, {rate}",
            file=self.file,
            rate=rate if self.factor else msg("frozen"),
        )
        return Advice(code, MODEL, msg("load"))
