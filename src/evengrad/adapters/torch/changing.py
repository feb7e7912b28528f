"""Makes changes in a live model and its optimizer, in the moment before the first training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from evengrad.adapters.torch import (
    changing_network,
    changing_rate,
    changing_scale,
    changing_skip,
    changing_weights,
    pretrained,
)
from evengrad.adapters.torch.living import Live
from evengrad.change import (
    Activation,
    Beta2,
    Change,
    Decay,
    Finite,
    FiniteTargets,
    Initialise,
    Inputs,
    Logits,
    LossScale,
    Normalise,
    Optimizer,
    Pretrained,
    Rate,
    Skip,
    UnitVariance,
    Warmup,
)
from evengrad.errors import CannotChangeError


def apply(live: Live, changes: Sequence[Change]) -> None:
    """All of them, in order. Raises CannotChangeError."""
    for change in changes:
        make = _MAKE.get(type(change))
        if make is None:
            raise CannotChangeError(f"{type(change).__name__} cannot be made in PyTorch.")
        make(live, change)


_MAKE: Mapping[type, Callable[..., None]] = {
    Activation: changing_network.activation,
    Beta2: changing_rate.beta2,
    Decay: changing_rate.decay,
    Finite: changing_network.finite,
    FiniteTargets: changing_network.finite_targets,
    Initialise: changing_weights.initialise,
    Inputs: changing_network.inputs,
    Logits: changing_network.logits,
    LossScale: changing_scale.loss_scale,
    Normalise: changing_network.normalise,
    Optimizer: changing_rate.optimizer,
    Pretrained: pretrained.pretrained,
    Rate: changing_rate.rate,
    Skip: changing_skip.skip,
    UnitVariance: changing_weights.unit_variance,
    Warmup: changing_rate.warmup,
}
