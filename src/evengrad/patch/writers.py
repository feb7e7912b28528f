"""Which function writes which change, in which framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evengrad.change import (
    Activation,
    Beta2,
    Clip,
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
from evengrad.patch.activation_keras import keras as keras_activation
from evengrad.patch.activation_torch import torch as torch_activation
from evengrad.patch.beta2 import keras as keras_beta2
from evengrad.patch.beta2 import torch as torch_beta2
from evengrad.patch.clip import torch as torch_clip
from evengrad.patch.clip_keras import keras as keras_clip
from evengrad.patch.draft import Draft, Manual
from evengrad.patch.finite_keras import keras as keras_finite
from evengrad.patch.finite_keras import targets as keras_finite_targets
from evengrad.patch.finite_torch import targets as torch_finite_targets
from evengrad.patch.initialise_keras import keras as keras_initialise
from evengrad.patch.initialise_torch import torch as torch_initialise
from evengrad.patch.inputs import keras as keras_inputs
from evengrad.patch.inputs import torch as torch_inputs
from evengrad.patch.inputs import torch_finite
from evengrad.patch.logits_keras import keras as keras_logits
from evengrad.patch.logits_torch import torch as torch_logits
from evengrad.patch.loss_scale_keras import keras as keras_loss_scale
from evengrad.patch.loss_scale_torch import torch as torch_loss_scale
from evengrad.patch.normalise_keras import keras as keras_normalise
from evengrad.patch.normalise_torch import torch as torch_normalise
from evengrad.patch.optimizer import keras as keras_optimizer
from evengrad.patch.optimizer import torch as torch_optimizer
from evengrad.patch.pretrained_keras import keras as keras_pretrained
from evengrad.patch.pretrained_torch import torch as torch_pretrained
from evengrad.patch.rate import keras as keras_rate
from evengrad.patch.rate import torch as torch_rate
from evengrad.patch.schedule_keras import decay as keras_decay
from evengrad.patch.schedule_keras import warmup as keras_warmup
from evengrad.patch.schedule_torch import decay as torch_decay
from evengrad.patch.schedule_torch import warmup as torch_warmup
from evengrad.patch.skip_keras import keras as keras_skip
from evengrad.patch.skip_torch import torch as torch_skip
from evengrad.patch.unit_variance_keras import keras as keras_unit_variance
from evengrad.patch.unit_variance_torch import torch as torch_unit_variance

WRITERS: dict[tuple[str, type[Any]], Callable[[Draft, Any], None]] = {
    ("torch", Activation): torch_activation,
    ("keras", Activation): keras_activation,
    ("torch", Beta2): torch_beta2,
    ("keras", Beta2): keras_beta2,
    ("torch", Clip): torch_clip,
    ("keras", Clip): keras_clip,
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
    ("torch", Normalise): torch_normalise,
    ("keras", Normalise): keras_normalise,
    ("torch", Optimizer): torch_optimizer,
    ("keras", Optimizer): keras_optimizer,
    ("torch", Pretrained): torch_pretrained,
    ("keras", Pretrained): keras_pretrained,
    ("torch", Rate): torch_rate,
    ("torch", Skip): torch_skip,
    ("keras", Skip): keras_skip,
    ("keras", Rate): keras_rate,
    ("torch", UnitVariance): torch_unit_variance,
    ("keras", UnitVariance): keras_unit_variance,
    ("torch", Warmup): torch_warmup,
    ("keras", Warmup): keras_warmup,
}


def by_hand(_draft: Draft, _change: Any) -> None:
    """A change that no writer knows in this framework is only described."""
    raise Manual()
