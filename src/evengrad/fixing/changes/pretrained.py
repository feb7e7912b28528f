"""Weights out of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.fixing.wording import MODEL
from evengrad.values.change import Advice, Change


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

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.pretrained import pretrained

        pretrained(live, self.file, self.factor)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.pretrained import pretrained

        pretrained(live, self.file, self.factor)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.pretrained import pretrained

        pretrained(draft, self.file, self.factor)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.pretrained import pretrained

        pretrained(draft, self.file, self.factor)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        rate = "frozen" if self.factor == 0 else f"with {self.factor:g} times the learning rate"
        code = f"weights from {self.file!r} where name and shape agree, {rate}"
        return Advice(code, MODEL, "load")
