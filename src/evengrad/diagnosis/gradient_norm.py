"""What makes the gradient's norm what it is: the loss's reduction, its scale, accumulation, one tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evengrad.theory.prediction import Prediction
from evengrad.values.probe import Probe


@dataclass(frozen=True, slots=True)
class GradientNorm:
    """The norm of the loss's gradient by all weights, before any clip, and its factors: norm = mean * summed.

    Attributes:
        norm: Euclidean, of the data's loss alone, without its scale; NaN where it is not finite.
        mean: what it would be for the mean of the loss's elements.
        summed: the loss over that mean; 1 where it is one.
        scale: by which the script's gradients are larger until they are unscaled.
        pieces: undivided losses that go into one step: its gradient is up to as many times this one.
        tensor: the weight with most of it; empty where there is none.
        share: of that one, of the squared norm, 0 to 1.
        beyond: log of what measured growth is above the forecast's median, where it is outside of its band; 0
            where it is inside, None where there is no forecast.
    """

    norm: float
    mean: float
    summed: float
    scale: float
    pieces: int
    tensor: str
    share: float
    beyond: float | None


def gradient_norm(probe: Probe, total: float, prediction: Prediction | None) -> GradientNorm | None:
    """Of a probe; None where no weight has a gradient.

    Args:
        probe: what was measured.
        total: the measured log growth from output to input.
        prediction: of the same model.
    """
    norms = {w.name: w.gradient.norm for w in probe.weights if w.gradient is not None}
    if not norms:
        return None
    norm = math.hypot(*norms.values())
    name = max(norms, key=lambda n: norms[n] if math.isfinite(norms[n]) else math.inf)
    share = (norms[name] / norm) ** 2 if 0 < norm < math.inf else math.nan
    return GradientNorm(
        norm=norm,
        mean=norm / probe.loss.summed,
        summed=probe.loss.summed,
        scale=probe.loss_scale,
        pieces=probe.accumulated,
        tensor=name,
        share=share,
        beyond=_beyond(total, prediction),
    )


def _beyond(total: float, prediction: Prediction | None) -> float | None:
    if prediction is None or not math.isfinite(prediction.total.median):
        return None
    if not math.isfinite(total) or prediction.total.holds(total):
        return 0.0
    return total - prediction.total.median
