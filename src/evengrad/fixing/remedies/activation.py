"""Another activation: ReLU instead of one with flat ends.

Treats: gradients that vanish because each activation's slope shrinks them (EG203), and saturated units (EG201).

Why: a sigmoid's slope is at most 1/4; no initialisation makes up for that over depth (Glorot 2011). ReLU keeps
half of the gradient's energy exactly, which weights of gain sqrt(2) give back (He 2015, 1502.01852), so those
come with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.initialise import Initialise
from evengrad.values.change import Change
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {Symptom.VANISHING, Symptom.FADING, Symptom.STANDING_STILL}
_GAIN = 2**0.5


def propose(case: Case) -> Iterable[Candidate]:
    """For the bounded activation that the network has most of."""
    if Cause.ACTIVATION not in case.causes and not case.symptoms & _TREATED:
        return
    for old in case.bounded[:1]:
        changes: list[Change] = [Activation(old, "relu")]
        for even in case.even:
            swapped = even.activation == old
            kind, gain = ("relu", _GAIN) if swapped else (even.activation, even.gain)
            changes.append(Initialise(even.layers, kind, gain))
        yield Candidate(
            "activation",
            tuple(changes),
            Cause.ACTIVATION,
            5,
            msg("ReLU, whose slope is 1, for {old}", old=old),
        )
