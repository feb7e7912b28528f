"""LeakyReLU whose slope follows from the depth.

Treats: deep networks without skip connections whose gradients vanish or units die although their weights are
right (EG102, EG202, EG203), or that do not learn though nothing is found.

Why: each ReLU layer makes any two inputs more alike, until all are the same. With the slope below zero chosen
so that the whole network maps inputs at a right angle to a cosine of 0.9, and no further, plain networks of a
hundred layers train (tailored rectifiers: Zhang, Botev and Martens 2022, 2203.08120, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.initialise import Initialise
from evengrad.theory.shaping import COSINE, cosine_after, tailored_slope
from evengrad.values.change import Change
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {
    Symptom.VANISHING,
    Symptom.DEAD_UNITS,
    Symptom.UNEVEN_SLOPES,
    Symptom.FADING,
    Symptom.STANDING_STILL,
}
_LEAST = 0.01  # LeakyReLU's first slope (Maas 2013): a short network needs only that no unit dies
_REPLACED = ("relu", "sigmoid", "tanh")


def propose(case: Case) -> Iterable[Candidate]:
    """For ReLU, or the bounded activation that the network has most of."""
    hurt = case.symptoms & _TREATED
    alike = not case.findings and cosine_after(case.depth, 0.0) > COSINE
    if not (hurt or alike) or case.depth < 1:
        return
    old = next((b for b in (*case.bounded, "relu") if b in _REPLACED), None)
    if old is None:
        return
    slope = max(float(f"{tailored_slope(case.depth):.2g}"), _LEAST)
    gain = math.sqrt(2 / (1 + slope**2))
    changes: list[Change] = [Activation(old, "leaky_relu", slope)]
    for even in case.even:
        swapped = even.activation == old
        kind, own = ("leaky_relu", gain) if swapped else (even.activation, even.gain)
        changes.append(Initialise(even.layers, kind, own))
    words = msg(
        "LeakyReLU of slope {slope:g}, tailored to {depth} layers, for {old}",
        slope=slope,
        depth=case.depth,
        old=old,
    )
    yield Candidate("tailored", tuple(changes), Cause.ACTIVATION, 5, words, alternative=1)
