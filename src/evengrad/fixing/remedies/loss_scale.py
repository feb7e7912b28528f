"""Loss scaling in half precision.

Treats: gradients that are too small for float16 and become zero (EG901).

Why: float16 ends at 6e-8 below, and has fewer digits below 6e-5, where most gradients of a network in its
middle of training lie. The loss times 2^16 lifts them into range; the optimizer gets them divided again, in
float32, and the scale is halved whenever they overflow (Micikevicius 2018, 1710.03740).
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.loss_scale import LossScale
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_SCALE = 2.0**16  # torch.amp.GradScaler's own start


def propose(case: Case) -> Iterable[Candidate]:
    """Where gradients underflow."""
    if Symptom.UNDERFLOW in case.symptoms:
        yield Candidate(
            "loss_scale",
            (LossScale(_SCALE),),
            Cause.PRECISION,
            1,
            msg("loss scaled by {SCALE:g}", SCALE=_SCALE),
        )
