"""Which initialisation would make a forecast even."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evengrad.diagnosis.advice import initialiser
from evengrad.diagnosis.causes import Scale, attribute
from evengrad.theory.activations import canonical
from evengrad.values.probe import Probe

_CLOSE = 0.05  # a scale within 5% of the one that preserves the variance is that one


@dataclass(frozen=True, slots=True)
class Even:
    """The weights that preserve the variance in some layers.

    Attributes:
        layers: their names, forward order.
        activation: the type that follows them, "linear" for none.
        gain: g of ``Var W = g^2 / fan_in``.
        actual: the geometric mean of what they have now, in the same unit.
        code: how to write it.

    References:
        He 2015, 1502.01852, section 2.2; docs/theory.md, "Activations".
    """

    layers: tuple[str, ...]
    activation: str
    gain: float
    actual: float
    code: str

    @property
    def kept(self) -> bool:
        """Whether the layers have it already."""
        return abs(self.actual / self.gain - 1) <= _CLOSE


def even_initialisation(probe: Probe) -> tuple[Even, ...]:
    """For all layers whose scale matters (no normalisation behind them), one entry a way to write it."""
    types = {op.name: op.type for op in probe.operations}
    groups: dict[tuple[str, str], list[Scale]] = {}
    for scale in attribute(probe).scales:
        kind = None if scale.activation is None else types[scale.activation]
        name = "linear" if kind is None else canonical(kind)
        groups.setdefault((name, initialiser(probe, kind)), []).append(scale)
    return tuple(_even(name, code, scales) for (name, code), scales in groups.items())


def _even(activation: str, code: str, scales: Sequence[Scale]) -> Even:
    product = 1.0
    for scale in scales:
        product *= scale.actual ** (1 / len(scales))
    layers = tuple(scale.layer for scale in scales)
    return Even(layers, activation, scales[0].preserving, product, code)
