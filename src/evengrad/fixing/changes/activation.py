"""Another activation in the hidden layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import WRITE, shaped
from evengrad.values.change import Advice, Change, calls
from evengrad.values.message import msg


@dataclass(frozen=True, slots=True)
class Activation(Change):
    """Another activation wherever ``old`` is now, but not in the loss head.

    Attributes:
        old: its type.
        new: what stands in its place.
        slope: of a leaky_relu's negative side.
        shaping: alpha, beta, gamma and delta of ``gamma (new(alpha x + beta) + delta)``, with which a plain
            network of some depth trains.

    References:
        docs/depth.md; Martens 2021, 2110.01765; Zhang 2022, 2203.08120.
    """

    stage: ClassVar[int] = 50
    substitutes: ClassVar[bool] = True
    old: str
    new: str
    slope: float | None = None
    shaping: tuple[float, float, float, float] | None = None

    live_torch = calls("evengrad.adapters.torch.change.network:activation")
    live_keras = calls("evengrad.adapters.keras.change.activation:activation")
    write_torch = calls("evengrad.fixing.patch.torch.activation:replace_activation")
    write_keras = calls("evengrad.fixing.patch.keras.activation:replace_activation")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        new = self.new if self.shaping is None else shaped(f"{self.new}({{}})", "x", self.shaping)
        code = msg("{new} instead of {old}", new=new, old=self.old)
        if self.slope is not None:
            code = msg(
                "{new} with a negative slope of {slope:.3g} instead of {old}",
                new=new,
                slope=self.slope,
                old=self.old,
            )
        return Advice(code, msg("in each hidden layer"), WRITE)
