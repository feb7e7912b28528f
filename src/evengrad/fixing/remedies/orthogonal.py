"""Orthogonal weights at initialisation.

Treats: gradients that explode or vanish in a deep stack because each layer multiplies them by more or less than
1 (EG301, EG302), where weights drawn one by one would preserve the variance only on average.

Why: all singular values of an orthogonal matrix are 1, so that a deep linear or tanh network keeps every
direction, not only their mean square (Saxe 2013, 1312.6120); a convolution has the matrix in the middle of its
kernel (delta-orthogonal, Xiao 2018, 1806.05393: 10,000 layers).
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.initialise import Initialise
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {Symptom.EXPLODING, Symptom.VANISHING}


def propose(case: Case) -> Iterable[Candidate]:
    """With the gain of each layer's activation, where independent weights were not enough."""
    if (Cause.INITIALISATION in case.causes or case.symptoms & _TREATED) and case.even:
        yield Candidate(
            "orthogonal",
            tuple(Initialise(e.layers, e.activation, e.gain, "orthogonal") for e in case.even),
            Cause.INITIALISATION,
            3,
            msg("orthogonal weights"),
            alternative=1,
        )
