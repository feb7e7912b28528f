"""Residual connections that begin as the identity (SkipInit, De 2020, 2002.10444)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import IN_MODEL, WRITE, some
from evengrad.values.change import Advice, Change, calls
from evengrad.values.message import msg


@dataclass(frozen=True, slots=True)
class Skip(Change):
    """A residual connection around each of these weighted layers, before the activation: ``x + a f(x)`` with a
    trained scalar a that begins at 0. Input and output have one shape.
    """

    stage: ClassVar[int] = 70
    patch_stage: ClassVar[int] = 10
    layers: tuple[str, ...]

    live_torch = calls("evengrad.adapters.torch.change.skip:skip")
    live_keras = calls("evengrad.adapters.keras.change.skip:skip")
    write_torch = calls("evengrad.fixing.patch.torch.skip:skip")
    write_keras = calls("evengrad.fixing.patch.keras.skip:skip")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        code = msg(
            "x + a * f(x) for f in {layers}, with a trained scalar a that begins at 0",
            layers=some(self.layers),
        )
        return Advice(code, IN_MODEL, WRITE)
