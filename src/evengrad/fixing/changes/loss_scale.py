"""Loss scaling for half precision (Micikevicius 2018, 1710.03740)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evengrad.fixing.wording import OPTIMIZER, WRITE
from evengrad.values.change import Advice, Change, calls
from evengrad.values.message import msg


@dataclass(frozen=True, slots=True)
class LossScale(Change):
    """The loss times ``value`` before differentiation, the gradients divided by it before the update, in a
    framework's own scaler, which adapts the value.
    """

    stage: ClassVar[int] = 120
    patch_stage: ClassVar[int] = 20  # before a clip
    value: float

    live_torch = calls("evengrad.adapters.torch.change.loss_scale:loss_scale")
    live_keras = calls("evengrad.adapters.keras.change.optimizer:loss_scale")
    write_torch = calls("evengrad.fixing.patch.torch.loss_scale:loss_scale")
    write_keras = calls("evengrad.fixing.patch.keras.loss_scale:loss_scale")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        if keras:
            code = f"keras.optimizers.LossScaleOptimizer(optimizer, initial_scale={self.value:g})"
            return Advice(code, OPTIMIZER, WRITE)
        code = msg(
            "scaler = torch.amp.GradScaler(device, init_scale={value:g}), then "
            "scaler.scale(loss).backward(), scaler.step(optimizer), scaler.update()",
            value=self.value,
        )
        return Advice(code, msg("instead of loss.backward() and optimizer.step()"), WRITE)
