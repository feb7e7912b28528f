"""Normalisation behind the hidden layers.

Treats: gradients that explode or vanish, whatever of initialisation, activation or architecture does it.

Why: behind a normalisation the scale of a layer's weights does not change the gradient, and units stay off
the flat ends of their activation (Ioffe 2015, 1502.03167). Batch normalisation needs a batch: below 16 samples
group normalisation does it instead where there are channels (Wu 2018, 1803.08494), layer normalisation where
there are not (Ba 2016, 1607.06450). A deep stack of it without skip connections
explodes by itself (Yang 2019, 1902.08129): not beyond 20 layers.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.add_normalisation import AddNormalisation, NormKind
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {
    Symptom.EXPLODING,
    Symptom.VANISHING,
    Symptom.SATURATED,
    Symptom.DEAD_UNITS,
    Symptom.UNEVEN_SLOPES,
    Symptom.WEIGHT_SCALE,
    Symptom.FADING,
}
DEEPEST = 20  # layers: deeper stacks of it explode by themselves (1902.08129)
_SMALL_BATCH = 16


def propose(case: Case) -> Iterable[Candidate]:
    """Behind all weighted layers but the last."""
    hidden = case.weighted[:-1]
    wanted = case.symptoms & _TREATED
    if not wanted or not hidden or case.normalised or len(hidden) > DEEPEST:
        return
    cause = next((c for c in case.causes if c is not Cause.LEARNING_RATE), Cause.ARCHITECTURE)
    norm = kind(case)
    yield Candidate(
        "normalisation",
        (AddNormalisation(norm, hidden),),
        cause,
        6,
        msg("{norm} normalisation", norm=norm),
    )


def kind(case: Case) -> NormKind:
    """Which one suits the batches and the layers."""
    if case.probe is None or case.probe.batch_size >= _SMALL_BATCH:
        return "batch"
    return "group" if case.convolutional else "layer"
