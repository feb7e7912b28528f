"""Weights out of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import MODEL
from evengrad.values.change import Advice, Change, calls


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
        rate = "frozen" if self.factor == 0 else f"with {self.factor:g} times the learning rate"
        code = f"weights from {self.file!r} where name and shape agree, {rate}"
        return Advice(code, MODEL, "load")
