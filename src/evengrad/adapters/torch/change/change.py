"""Makes changes in a live model and its optimizer, in the moment before the first training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from evengrad.adapters.torch.change import loss_scale, network, pretrained, rate, skip, weights
from evengrad.adapters.torch.change.model import Live
from evengrad.errors import CannotChangeError
from evengrad.values.change import (
    Activation,
    AddNormalisation,
    Beta2,
    Change,
    Decay,
    Finite,
    FiniteTargets,
    Initialise,
    Inputs,
    Logits,
    LossScale,
    Pretrained,
    SetRate,
    Skip,
    UnitVariance,
    UseOptimizer,
    Warmup,
)


def apply(live: Live, changes: Sequence[Change]) -> None:
    """All of them, in order. Raises CannotChangeError."""
    for change in changes:
        make = _MAKE.get(type(change))
        if make is None:
            raise CannotChangeError(f"{type(change).__name__} cannot be made in PyTorch.")
        make(live, change)


_MAKE: Mapping[type, Callable[..., None]] = {
    Activation: network.activation,
    Beta2: rate.beta2,
    Decay: rate.decay,
    Finite: network.finite,
    FiniteTargets: network.finite_targets,
    Initialise: weights.initialise,
    Inputs: network.inputs,
    Logits: network.logits,
    LossScale: loss_scale.loss_scale,
    AddNormalisation: network.normalise,
    UseOptimizer: rate.optimizer,
    Pretrained: pretrained.pretrained,
    SetRate: rate.rate,
    Skip: skip.skip,
    UnitVariance: weights.unit_variance,
    Warmup: rate.warmup,
}
