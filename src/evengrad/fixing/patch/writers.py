"""Which function writes which change, in which framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evengrad.fixing.patch.keras.activation import keras as keras_activation
from evengrad.fixing.patch.keras.beta2 import keras as keras_beta2
from evengrad.fixing.patch.keras.clip import keras as keras_clip
from evengrad.fixing.patch.keras.finite import keras as keras_finite
from evengrad.fixing.patch.keras.finite import targets as keras_finite_targets
from evengrad.fixing.patch.keras.initialise import keras as keras_initialise
from evengrad.fixing.patch.keras.inputs import keras as keras_inputs
from evengrad.fixing.patch.keras.logits import keras as keras_logits
from evengrad.fixing.patch.keras.loss_scale import keras as keras_loss_scale
from evengrad.fixing.patch.keras.normalise import keras as keras_normalise
from evengrad.fixing.patch.keras.optimizer import keras as keras_optimizer
from evengrad.fixing.patch.keras.pretrained import keras as keras_pretrained
from evengrad.fixing.patch.keras.rate import keras as keras_rate
from evengrad.fixing.patch.keras.schedule import decay as keras_decay
from evengrad.fixing.patch.keras.schedule import warmup as keras_warmup
from evengrad.fixing.patch.keras.skip import keras as keras_skip
from evengrad.fixing.patch.keras.unit_variance import keras as keras_unit_variance
from evengrad.fixing.patch.script.draft import Draft, Manual
from evengrad.fixing.patch.torch.activation import torch as torch_activation
from evengrad.fixing.patch.torch.beta2 import torch as torch_beta2
from evengrad.fixing.patch.torch.clip import torch as torch_clip
from evengrad.fixing.patch.torch.finite import targets as torch_finite_targets
from evengrad.fixing.patch.torch.initialise import torch as torch_initialise
from evengrad.fixing.patch.torch.inputs import torch as torch_inputs
from evengrad.fixing.patch.torch.inputs import torch_finite
from evengrad.fixing.patch.torch.logits import torch as torch_logits
from evengrad.fixing.patch.torch.loss_scale import torch as torch_loss_scale
from evengrad.fixing.patch.torch.normalise import torch as torch_normalise
from evengrad.fixing.patch.torch.optimizer import torch as torch_optimizer
from evengrad.fixing.patch.torch.pretrained import torch as torch_pretrained
from evengrad.fixing.patch.torch.rate import torch as torch_rate
from evengrad.fixing.patch.torch.schedule import decay as torch_decay
from evengrad.fixing.patch.torch.schedule import warmup as torch_warmup
from evengrad.fixing.patch.torch.skip import torch as torch_skip
from evengrad.fixing.patch.torch.unit_variance import torch as torch_unit_variance
from evengrad.values.change import (
    Activation,
    AddNormalisation,
    Beta2,
    ClipGradients,
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

WRITERS: dict[tuple[str, type[Any]], Callable[[Draft, Any], None]] = {
    ("torch", Activation): torch_activation,
    ("keras", Activation): keras_activation,
    ("torch", Beta2): torch_beta2,
    ("keras", Beta2): keras_beta2,
    ("torch", ClipGradients): torch_clip,
    ("keras", ClipGradients): keras_clip,
    ("torch", Decay): torch_decay,
    ("keras", Decay): keras_decay,
    ("torch", Finite): torch_finite,
    ("keras", Finite): keras_finite,
    ("torch", FiniteTargets): torch_finite_targets,
    ("keras", FiniteTargets): keras_finite_targets,
    ("torch", Initialise): torch_initialise,
    ("keras", Initialise): keras_initialise,
    ("torch", Inputs): torch_inputs,
    ("keras", Inputs): keras_inputs,
    ("torch", Logits): torch_logits,
    ("keras", Logits): keras_logits,
    ("torch", LossScale): torch_loss_scale,
    ("keras", LossScale): keras_loss_scale,
    ("torch", AddNormalisation): torch_normalise,
    ("keras", AddNormalisation): keras_normalise,
    ("torch", UseOptimizer): torch_optimizer,
    ("keras", UseOptimizer): keras_optimizer,
    ("torch", Pretrained): torch_pretrained,
    ("keras", Pretrained): keras_pretrained,
    ("torch", SetRate): torch_rate,
    ("torch", Skip): torch_skip,
    ("keras", Skip): keras_skip,
    ("keras", SetRate): keras_rate,
    ("torch", UnitVariance): torch_unit_variance,
    ("keras", UnitVariance): keras_unit_variance,
    ("torch", Warmup): torch_warmup,
    ("keras", Warmup): keras_warmup,
}


def by_hand(_draft: Draft, _change: Any) -> None:
    """A change that no writer knows in this framework is only described."""
    raise Manual()
