"""What Keras trains on several devices, and the truth about it: NumPy, float64, the whole batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.distributed.figures import FIGURES

STEPS, BATCH, RATE, MOMENTUM, BAD_STEP, _EPSILON = 3, 24, 0.1, 0.9, 1, 1e-3


def data() -> tuple[Any, Any]:
    """Inputs (steps, batch, 12) and targets."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(STEPS, BATCH, 12)).astype("float32")
    return x, rng.integers(0, 3, (STEPS, BATCH))


def truth(start: Sequence[Any]) -> dict[str, list[Any]]:
    """What a run should have recorded of a tanh layer, a layer normalisation and two linear ones: FIGURES
    a step and tensor, "norm" and "loss" a step. start: kernel and bias, gain and offset, kernel and bias twice.
    """
    weights = [np.array(w, np.float64) for w in start]
    speeds = [np.zeros_like(w) for w in weights]
    found: dict[str, list[Any]] = {name: [] for name in (*FIGURES, "norm", "loss")}
    for x, y in zip(*data(), strict=True):
        loss, gradients = _derived(weights, x.astype(np.float64), y)
        speeds = [MOMENTUM * v - RATE * g for v, g in zip(speeds, gradients, strict=True)]
        found["gradient_rms"].append([_rms(g) for g in gradients])
        found["gradient_max"].append([float(np.abs(g).max()) for g in gradients])
        found["zeros"].append([float((g == 0).mean()) for g in gradients])
        found["weight_rms"].append([_rms(w) for w in weights])
        found["update_rms"].append([_rms(v) for v in speeds])
        found["norm"].append(math.sqrt(sum(float((g**2).sum()) for g in gradients)))
        found["loss"].append(loss)
        weights = [w + v for w, v in zip(weights, speeds, strict=True)]
    return found


def _derived(weights: Sequence[Any], x: Any, y: Any) -> tuple[float, list[Any]]:
    """Loss and gradients by hand."""
    a, a0, gain, offset, b, b0, c, c0 = weights
    h = np.tanh(x @ a + a0)
    deviation = np.sqrt(h.var(1, keepdims=True) + _EPSILON)
    z = (h - h.mean(1, keepdims=True)) / deviation
    n = gain * z + offset
    m = n @ b + b0
    scores = m @ c + c0
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    rows = np.arange(len(y))
    loss = float(-np.log(p[rows, y]).mean())
    p[rows, y] -= 1
    at_scores = p / len(y)
    at_m = at_scores @ c.T
    at_n = at_m @ b.T
    at_z = at_n * gain
    at_h = at_z - at_z.mean(1, keepdims=True) - z * (at_z * z).mean(1, keepdims=True)
    at_a = at_h / deviation * (1 - h**2)
    products = [x.T @ at_a, at_a.sum(0), (at_n * z).sum(0), at_n.sum(0)]
    return loss, [*products, n.T @ at_m, at_m.sum(0), m.T @ at_scores, at_scores.sum(0)]


def _rms(values: Any) -> float:
    return float(np.sqrt((values**2).mean()))
