"""Variance-preserving weights at initialisation.

Treats: gradients that explode or vanish because each layer multiplies them by more or less than 1 (EG301,
EG302, and dead or saturated units that come of it); after a lower rate, steps that are too large (EG701, EG702,
EG802) where some layer's weights are twice as large as they should be: curvature grows with their product.

Why: with Var W = g^2 / fan_in, where g^2 is 1 / E[phi(z)^2] of the activation that follows, the variance stays
from layer to layer: 2 for ReLU (He 2015, 1502.01852), 1 without an activation (LeCun 1998; Glorot 2010). Every
layer whose scale matters gets its own; one with a normalisation behind it is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.initialise import Initialise
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_UNEVEN = {Symptom.EXPLODING, Symptom.VANISHING}
_TOO_FAST = {Symptom.FIRST_UPDATE_TOO_LARGE, Symptom.RATE_TOO_LARGE, Symptom.OVERWRITING}
_TWICE = 2.0  # a measured choice: it only decides what is tried


def propose(case: Case) -> Iterable[Candidate]:
    """Where any layer's scale does not preserve the variance."""
    off = [even for even in case.even if not even.kept]
    if not off:
        return
    worst = max(off, key=lambda even: abs(even.actual / even.gain - 1))
    cause = Cause.INITIALISATION
    if cause not in case.causes and not case.symptoms & _UNEVEN:
        if not case.symptoms & _TOO_FAST or worst.actual < _TWICE * worst.gain:
            return
        cause = Cause.LEARNING_RATE
    yield Candidate(
        "initialisation",
        tuple(Initialise(even.layers, even.activation, even.gain) for even in case.even),
        cause,
        3,
        msg(
            "variance-preserving weights ({layers} has {actual:.3g} times that)",
            layers=worst.layers[0],
            actual=worst.actual / worst.gain,
        ),
    )
