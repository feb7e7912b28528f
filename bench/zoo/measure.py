"""Probe an architecture with one seed: fresh weights, fresh data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import evengrad
from bench.zoo.architecture import CLASSES, Architecture
from evengrad.diagnosis.budget import budget

FORECAST_SEED = 1000
"""Of the model that the forecast sees; no measured seed comes near it."""


@dataclass(frozen=True, slots=True)
class Point:
    """What one probe measured at one operation; natural logarithms, NaN where there is none.

    level: log(norm of dL/dy there / norm at the outputs). gain: log(norm below / norm above).
    """

    operation: str
    kind: str
    level: float
    gain: float


def fresh_model(architecture: Architecture, seed: int) -> Any:
    """The model with the weights of that seed."""
    start_afresh(architecture, seed)
    return architecture.build()


def start_afresh(architecture: Architecture, seed: int) -> None:
    """Seed the framework, and let it name and number layers from the beginning."""
    if architecture.framework == "torch":
        import torch

        torch.manual_seed(seed)
    else:
        import keras

        keras.backend.clear_session()
        keras.utils.set_random_seed(seed)


def measure(architecture: Architecture, seed: int) -> list[Point]:
    """One probe of fresh weights on standard normal inputs (or uniform ids) and random labels."""
    model = fresh_model(architecture, seed)
    random = np.random.default_rng(seed)
    shape = (architecture.batch, *architecture.shape)
    x: Any = random.standard_normal(shape).astype("float32")
    if architecture.vocabulary is not None:
        x = random.integers(0, architecture.vocabulary, shape)
    batch = (x, random.integers(0, CLASSES, architecture.batch))
    probe = evengrad.check(model, loss=_loss(architecture), batch=batch).probe
    gains = {op.name: op.log_gain for op in probe.operations}
    kinds = {op.name: str(op.kind) for op in probe.operations}
    points = []
    for level in budget(probe).profile:
        gain = gains[level.operation]
        points.append(
            Point(
                level.operation,
                kinds[level.operation],
                level.log_norm,
                math.nan if gain is None else gain,
            )
        )
    return points


def _loss(architecture: Architecture) -> Any:
    if architecture.framework == "torch":
        import torch

        return torch.nn.CrossEntropyLoss()
    import keras

    from_logits = architecture.half != "real"
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


def as_json(points: list[Point]) -> list[dict[str, Any]]:
    """Points as plain values; what is not finite becomes a word."""
    return [
        {k: v if isinstance(v, str) or math.isfinite(v) else str(v) for k, v in asdict(p).items()}
        for p in points
    ]


def from_json(rows: list[dict[str, Any]]) -> list[Point]:
    """The way back."""
    return [Point(r["operation"], r["kind"], float(r["level"]), float(r["gain"])) for r in rows]
