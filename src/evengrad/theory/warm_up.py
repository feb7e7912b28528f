"""The learning rate that the loss itself bears: curvature that falls with it (docs/theory.md, Learning rate).

Where a network's curvature is bounded by ``H0 + H1 (f - f*)``, the loss f above its least f*, gradient descent
with ``eta = 1 / (H0 + H1 (f - f*))`` descends; as f falls, eta rises: a warm-up whose length and height are
measured (Alimisis 2025, 2510.03164; Riabinin 2026, 2602.05813, for Lion, Muon and the like).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from evengrad.values.probe import Rate

_APART = 0.05  # of the first loss: what lies nearer tells no slope


@dataclass(frozen=True, slots=True)
class Curvature:
    """A bound on it that is linear in the loss.

    Attributes:
        base: H0, one over a learning rate.
        per_loss: H1, the same per unit of the loss.
        least: f*.
    """

    base: float
    per_loss: float
    least: float = 0.0

    def rate(self, loss: float) -> float:
        """The learning rate at that loss; inf where there is no curvature."""
        found = self.base + self.per_loss * max(loss - self.least, 0.0)
        return 1 / found if found > 0 else math.inf


def curvature(
    first: tuple[float, float], later: tuple[float, float], least: float = 0.0
) -> Curvature | None:
    """H0 and H1 from two critical rates of one training.

    A step of the critical rate c leaves the loss where it was, which on a parabola is twice the way to its
    lowest point: the curvature along the update is 2 / c.

    Args:
        first: loss and critical rate at the start.
        later: the same some steps later, at a lower loss.
        least: f*, 0 for losses such as cross-entropy and squared errors.

    Returns:
        Through both points; where that crosses zero above f*, the steepest line through (f*, 0) and a
        point. None where the losses are not far apart, or the curvature does not fall with the loss.
    """
    (loss, critical), (lower, grown) = first, later
    if not all(0 < v < math.inf for v in (loss - least, lower - least, critical, grown)):
        return None
    sharp, flat = 2 / critical, 2 / grown
    if loss - lower < _APART * (loss - least) or sharp <= flat:
        return None
    slope = (sharp - flat) / (loss - lower)
    base = flat - slope * (lower - least)
    if base < 0:
        return Curvature(0.0, max(sharp / (loss - least), flat / (lower - least)), least)
    return Curvature(base, slope, least)


def of_rate(rate: Rate) -> Curvature | None:
    """From what was measured along a training's first updates; None where it was not, or tells of no warm-up.

    The momentum of gradient descent adds up to 1 / (1 - b) such steps, and so the curvature counts so often.
    """
    if rate.later is None or rate.loss is None:
        return None
    found = curvature((rate.loss, rate.critical), (rate.later.loss, rate.later.critical))
    if found is None or rate.method.family not in ("sgd", "other"):
        return found
    times = 1 / (1 - min(rate.method.momentum, 0.999))
    return Curvature(found.base * times, found.per_loss * times, found.least)
