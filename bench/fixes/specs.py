"""The corpus: which trainings, and what is planted in each."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evengrad.values.finding import Cause

Framework = Literal["torch", "keras"]
Half = Literal["development", "held-out"]
FRAMEWORKS: tuple[Framework, ...] = ("torch", "keras")

ARCHITECTURES: dict[Half, tuple[str, ...]] = {
    "development": ("mlp", "cnn", "residual", "conv1d", "autoencoder", "mixer"),
    "held-out": ("attention", "towers", "strided"),
}
CAUSES: dict[str, Cause] = {
    "weights_large": Cause.INITIALISATION,
    "weights_small": Cause.INITIALISATION,
    "sigmoid": Cause.ACTIVATION,
    "rate_large": Cause.LEARNING_RATE,
    "rate_small": Cause.LEARNING_RATE,
    "softmax_twice": Cause.LOSS_HEAD,
    "raw_inputs": Cause.INPUT_DATA,
    "norm_stack": Cause.NORMALISATION,
    "bad_rows": Cause.BAD_BATCH,
    "gradients_kept": Cause.LEARNING_RATE,
    "optimizer_early": Cause.ARCHITECTURE,
    "schedule_batch": Cause.LEARNING_RATE,
    "loss_sum": Cause.LEARNING_RATE,
    "penalty_root": Cause.LOSS_HEAD,
    "broadcast": Cause.LOSS_HEAD,
}
"""What is planted, and the cause that a diagnosis should name. The last six are mistakes in the code."""
MISTAKES: dict[str, tuple[Framework, ...]] = {
    "gradients_kept": ("torch",),
    "optimizer_early": ("torch",),
    "schedule_batch": ("torch",),
    "loss_sum": FRAMEWORKS,
    "penalty_root": FRAMEWORKS,
    "broadcast": ("torch",),
}
"""Where each can be made."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One training. plant: a key of CAUSES, None for the healthy twin. size: of the plant (a standard
    deviation, a rate, a factor of the inputs, a share of bad rows).
    """

    framework: Framework
    architecture: str
    depth: int
    width: int
    activation: str
    optimizer: str
    seed: int
    plant: str | None = None
    size: float = 0.0

    @property
    def half(self) -> Half:
        """Where its architecture belongs."""
        return next(half for half, own in ARCHITECTURES.items() if self.architecture in own)

    @property
    def name(self) -> str:
        """Such as torch-mlp-rate_large-3."""
        return f"{self.framework}-{self.architecture}-{self.plant or 'healthy'}-{self.seed}"

    @property
    def regression(self) -> bool:
        """Whether it is to give values, not classes."""
        return self.architecture in ("autoencoder", "towers")

    @property
    def baseline(self) -> float:
        """Loss of the best constant answer: the mean variance of an output, the entropy of ten classes."""
        return {"autoencoder": 0.0735, "towers": 1.0}.get(self.architecture, math.log(10))

    @property
    def recipe(self) -> Spec:
        """The twin with Adam at its usual rate: what a training of this network can come to."""
        return replace(self.twin, optimizer="adam")

    @property
    def twin(self) -> Spec:
        """The same training with nothing planted: ReLU for a sigmoid, and a stack that is not too deep."""
        depth = min(self.depth, 8) if self.plant == "norm_stack" else self.depth
        activation = "relu" if self.plant == "sigmoid" else self.activation
        return replace(self, depth=depth, activation=activation, plant=None, size=0.0)


_SIZES: dict[str, Sequence[float]] = {
    "weights_large": (0.5, 0.7, 1.0),
    "weights_small": (0.003, 0.01, 0.02),
    "sigmoid": (0.0,),
    "rate_small": (1e-3, 3e-4, 1e-4),  # of the usual one
    "rate_large": (300.0, 1000.0, 3000.0),
    "softmax_twice": (0.0,),
    "raw_inputs": (255.0, 1000.0),
    "norm_stack": (0.0,),
    "bad_rows": (0.01, 0.05),
    "gradients_kept": (0.0,),
    "optimizer_early": (0.0,),
    "schedule_batch": (0.9, 0.8),  # of the rate is left with each batch
    "loss_sum": (0.0,),
    "penalty_root": (1e-4,),
    "broadcast": (0.0,),
}
_DEPTHS: dict[str, Sequence[int]] = {
    "weights_large": (4, 6, 8),
    "weights_small": (6, 8, 10),
    "sigmoid": (7, 9, 12),
    "norm_stack": (40, 50),
}
# Behind BatchNorm tanh makes gradients grow 1.085-fold a layer only, ReLU 1.211-fold (EG401).
_ACTIVATIONS = {"sigmoid": "sigmoid", "norm_stack": "relu"}
_WIDTHS = {
    "mlp": (48, 64, 96),
    "residual": (48, 64),
    "autoencoder": (48, 64),
    "mixer": (32, 48),
    "attention": (32, 48),
    "towers": (32, 48),
}
_OPTIMIZERS = {"autoencoder": ("adam",)}  # with others even a healthy one stands still
_EACH: dict[tuple[Framework, Half], int] = {
    ("torch", "development"): 1,
    ("keras", "development"): 1,
    ("torch", "held-out"): 2,
    ("keras", "held-out"): 1,
}

_CHECKERED = ("keras", "development")
"""Has every second plant only, for the time that it takes: a step of Keras costs ten of PyTorch here."""


def _plants(framework: Framework, architecture: str) -> list[str]:
    """What makes sense there: a regression has no softmax; residual nets bear a sigmoid and deep stacks."""
    residual = {"sigmoid", "norm_stack"}
    without = {
        "autoencoder": {"softmax_twice"},
        "towers": {"softmax_twice"},
        "residual": residual,
        "mixer": residual,
        "attention": residual,
    }
    left_out = without.get(architecture, set())
    left_out |= set() if architecture == "towers" else {"broadcast"}
    return [
        plant
        for plant in CAUSES
        if plant not in left_out and framework in MISTAKES.get(plant, FRAMEWORKS)
    ]


def corpus() -> list[Spec]:
    """All sick trainings, the same in every run."""
    return [
        _drawn(framework, architecture, plant, number)
        for framework in FRAMEWORKS
        for half, own in ARCHITECTURES.items()
        for row, architecture in enumerate(own)
        for column, plant in enumerate(_plants(framework, architecture))
        if (framework, half) != _CHECKERED or (row + column) % 2 == 0
        for number in range(_EACH[framework, half])
    ]


def _drawn(framework: Framework, architecture: str, plant: str, number: int) -> Spec:
    rng = random.Random(f"20261124 {framework} {architecture} {plant} {number}")
    return Spec(
        framework,
        architecture,
        rng.choice(_DEPTHS.get(plant, (3, 4, 5))),
        rng.choice(_WIDTHS.get(architecture, (12, 16))),
        _ACTIVATIONS.get(plant) or rng.choice(("relu", "relu", "tanh")),
        rng.choice(_OPTIMIZERS.get(architecture, ("sgd", "momentum", "adam"))),
        rng.randrange(1000),
        plant,
        rng.choice(_SIZES[plant]),
    )


def healthy(sick: Sequence[Spec]) -> list[Spec]:
    """Twins of about every fourth sick training."""
    return [spec.twin for spec in sick if spec.seed % 4 == 0]
