"""Initial weights of another scale or law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from evengrad.fixing.wording import ADD, MODEL, WRITE, some
from evengrad.values.change import Advice, Change
from evengrad.values.message import msg

Scheme = Literal["normal", "orthogonal", "zeros"]


@dataclass(frozen=True, slots=True)
class Initialise(Change):
    """Draw the weights of some layers anew, with ``Var W = gain^2 / fan_in``, and zero or draw their biases.

    Attributes:
        layers: their names, forward order.
        activation: the type that follows them ("relu", "tanh", ...; "linear" for none), for which gain
            preserves the variance.
        gain: g of the variance.
        scheme: orthogonal is scaled by the same gain (delta-orthogonal for convolutions); zeros are for the
            ends of residual branches, and have the gain 0.
        bias: standard deviation of the biases.

    References:
        He 2015, 1502.01852; Saxe 2013, 1312.6120; Xiao 2018, 1806.05393.
    """

    stage: ClassVar[int] = 80
    layers: tuple[str, ...]
    activation: str
    gain: float
    scheme: Scheme = "normal"
    bias: float = 0.0

    def order(self) -> int:
        """Zeros behind what is drawn."""
        return self.stage + (self.scheme == "zeros")

    def live_torch(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.torch.change.weights import initialise

        initialise(live, self.layers, self.gain, self.scheme, self.bias)

    def live_keras(self, live: Any) -> None:
        """See Change."""
        from evengrad.adapters.keras.change.weights import initialise

        initialise(live, self.layers, self.gain, self.scheme, self.bias)

    def write_torch(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.torch.initialise import initialise

        initialise(draft, self.layers, self.gain, self.scheme, self.bias)

    def write_keras(self, draft: Any) -> None:
        """See Change."""
        from evengrad.fixing.patch.keras.initialise import initialise

        initialise(draft, self.layers, self.gain, self.scheme, self.bias)

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        if keras:
            drawn = f", bias_initializer=keras.initializers.RandomNormal(0, {self.bias:.3g})"
            code = f"kernel_initializer=keras.initializers.{self._keras()}{drawn * bool(self.bias)}"
            text = msg("{code} for {layers}", code=code, layers=some(self.layers))
            return Advice(text, msg("where these layers are made"), WRITE)
        bias = f"normal_(layer.bias, 0, {self.bias:.3g})" if self.bias else "zeros_(layer.bias)"
        code = f"{self._torch()}; torch.nn.init.{bias}"
        text = msg("{code} for layer in {layers}", code=code, layers=some(self.layers))
        return Advice(text, MODEL, ADD)

    def _keras(self) -> str:
        if self.scheme == "zeros":
            return "Zeros()"
        if self.scheme == "orthogonal":
            return f"Orthogonal({self.gain:.4g} * max(1, outputs / inputs) ** 0.5)"
        return f'VarianceScaling({self.gain**2:.3g}, "fan_in", "truncated_normal")'

    def _torch(self) -> str:
        if self.scheme == "zeros":
            return "torch.nn.init.zeros_(layer.weight)"
        if self.scheme == "orthogonal":
            return f"torch.nn.init.orthogonal_(layer.weight, gain={self.gain:.4g})"
        std = f"{self.gain:.4g} / layer.weight[0].numel() ** 0.5"
        return f"torch.nn.init.normal_(layer.weight, std={std})"
