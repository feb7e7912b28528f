"""EG703 learning rate far too small: the weights hardly move.

What it finds: a learning rate a thousand times below the largest stable one, with updates so small against
the weights that a whole epoch changes nothing.

Why it matters: the loss seems not to move at all, and the search for a bug in the model begins.

How it decides: both must hold. The rate is below a thousandth of the largest stable rate (a measured choice:
usual rates lie between the edge and a hundredth of it). And no weight matrix changes by more than 1e-6 of
itself in a step (TheDeepChecker calls 1e-4 to 1e-1 healthy; a hundred times less is no tuning).
A schedule that warms up starts small on purpose: then this finding says nothing. Where a run is known whose
loss does not fall, a rate below a hundredth of the largest stable one is enough.

Nothing is said of optimizers whose factor is not known, nor where weights that begin at zero hide the rest.

What to do: raise the rate to a tenth of the largest stable one or to what is usual, whichever is less, unless a
warm-up does.

References: TheDeepChecker (2204.00694); critical sharpness (2601.16979).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from evengrad.diagnosis.evidence import Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.diagnosis.rate_advice import higher
from evengrad.theory.stability import largest_stable
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.wording import times

CODE = "EG703"
SICK = (NetworkCase(learning_rate=1e-8), NetworkCase(optimizer="adam", learning_rate=1e-9))
HEALTHY = (NetworkCase(), NetworkCase(optimizer="adam", learning_rate=1e-3))

_FAR, _UNUSUAL = 1e-3, 1e-2
_STILL = 1e-6
_ECHO_OF = tuple(cause for cause in Cause if cause is not Cause.LEARNING_RATE)


def check(evidence: Evidence) -> Iterable[Finding]:
    """Compare the rate in use with the largest stable one, and the updates with the weights."""
    probe = evidence.probe
    if probe.rate is None or probe.optimizer is None or probe.rate.method.family == "other":
        return
    stable, now = largest_stable(probe.rate), probe.rate.learning_rate
    moves = [
        w.update / w.value.rms
        for w in probe.weights
        if w.fan_in is not None and w.update is not None and w.value.rms > 0
    ]
    if any(evidence.begins_at_zero(op) for op in probe.operations):
        return
    if not moves or not math.isfinite(stable) or now >= _UNUSUAL * stable:
        return
    if not evidence.still and (now >= _FAR * stable or max(moves) > _STILL):
        return
    yield Finding(
        CODE,
        msg(
            "{name}'s learning rate {now:g} is {stable} below the largest stable one",
            name=probe.optimizer.name,
            now=now,
            stable=times(stable / now),
        ),
        Cause.LEARNING_RATE,
        Severity.WARNING,
        symptom=Symptom.RATE_TOO_SMALL,
        evidence=(
            msg(
                "the weight matrix that moves most moves by {moves} of itself in a step",
                moves=_moves(max(moves)),
            ),
            msg("a warm-up that starts here is no fault"),
        ),
        advice=(
            msg(
                "unless a schedule warms it up, raise the learning rate to {higher:g}",
                higher=higher(probe.rate),
            ),
        ),
        explained_by=_ECHO_OF,
    )


def _moves(share: float) -> str:
    return f"{share:.1g}" if share >= 1e-9 else msg("less than a billionth")
