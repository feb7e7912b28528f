"""A shorter memory of Adam's second moment.

Treats: spikes of the loss or the gradient under Adam (EG803).

Why: with beta2 = 0.999 Adam divides by an average over a thousand steps; when gradients grow, it is far behind,
and the update is too large (Wortsman 2023, 2304.13013; Molybog 2023, 2304.09871). 0.95 follows in twenty.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.beta2 import Beta2
from evengrad.values.finding import Cause, Symptom


def propose(case: Case) -> Iterable[Candidate]:
    """Where an Adam has spikes."""
    if Symptom.SPIKES in case.symptoms and "adam" in case.optimizer:
        yield Candidate("beta2", (Beta2(0.95),), Cause.LEARNING_RATE, 1, "beta2 of 0.95")
