"""The learning rate to set instead of the one in use: one figure for check, run and fix, rounded once."""

from __future__ import annotations

import math
from collections.abc import Mapping

from evengrad.diagnosis.evidence import Evidence
from evengrad.theory.stability import largest_stable
from evengrad.values.probe import Rate, Weight

USUAL = {"sgd": 0.1, "adam": 1e-3, "rmsprop": 1e-3, "adagrad": 1e-2}
"""Rates with which most trainings begin, by the optimizer's family."""
_OF_WEIGHTS = 0.01
"""An update of a hundredth of its weights: the middle of what is usual, 1e-4 to 1e-1 (TheDeepChecker)."""
_ROOM = 2.0
"""Half of the largest stable rate leaves room for the sharpness to grow (Cohen 2021)."""
_USABLE = 1e-6
"""A rate below this is no advice: something else is wrong."""


def rounded(rate: float) -> float:
    """To the one digit that a rate is known to."""
    return float(f"{rate:.1g}")


def lower(now: float | None, ratio: float = 0.0, stable: float | None = None) -> float | None:
    """The rate to come down to.

    Args:
        now: the one in use.
        ratio: of the largest first update to its weights, where that is above 1.
        stable: the largest stable one.

    Returns:
        What satisfies both, rounded; None where neither says anything, or what they say is of no use.
    """
    bounds = [stable / _ROOM] if stable is not None and math.isfinite(stable) else []
    if now is not None and 1.0 < ratio < math.inf:
        bounds.append(now / ratio * _OF_WEIGHTS)
    found = min(bounds, default=math.nan)
    if not found >= _USABLE or (now is not None and found >= now):
        return None
    return rounded(found)


def higher(rate: Rate) -> float:
    """The rate to come up to: a tenth of the largest stable one or the usual one, whichever is less."""
    return rounded(min(largest_stable(rate) / 10, USUAL.get(rate.method.family, 0.1)))


def overwritten(evidence: Evidence) -> Mapping[str, float]:
    """The coming update of each weight matrix against it, whose scale no normalisation takes out; below its
    variance-preserving scale it counts as if it had that.
    """
    return {
        weight.name: weight.update / max(weight.value.rms, _preserving(weight))
        for op in evidence.probe.operations
        if op.name not in evidence.shares.absorbed
        for weight in evidence.matrices(op)
        if weight.update is not None
    }


def instead(evidence: Evidence, *, stable: bool = True) -> float | None:
    """The rate to come down to, for a probe. stable: whether the largest stable one counts."""
    probe = evidence.probe
    rate = probe.rate
    now = None if probe.optimizer is None else probe.optimizer.learning_rate
    ratio = max((r for r in overwritten(evidence).values() if r < math.inf), default=0.0)
    edge = largest_stable(rate) if rate is not None and stable else None
    return lower(now, ratio, edge if edge else None)


def _preserving(weight: Weight) -> float:
    """The rms that preserves the variance of what a layer sums."""
    return 1 / math.sqrt(weight.fan_in) if weight.fan_in else 0.0
