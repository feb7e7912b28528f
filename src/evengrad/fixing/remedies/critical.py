"""Weights at the edge of chaos, orthogonal, for deep tanh networks.

Treats: deep networks of tanh without skip connections and normalisation whose gradients explode or vanish,
or that learn nothing (EG101, EG102, EG301, EG302).

Why: weights that keep the variance at 1 multiply a tanh network's gradient by 1.09 a layer. At the critical
point that belongs to the depth (sigma_w and sigma_b by quadrature) both the signal and the gradient keep their
size, and orthogonal matrices in the middle of the kernels keep every direction (Xiao 2018, 1806.05393: 10,000
layers).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.initialise import Initialise
from evengrad.theory.criticality import Critical, critical
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {Symptom.EXPLODING, Symptom.VANISHING, Symptom.FADING, Symptom.STANDING_STILL}
_FEWEST = 10  # activations: with fewer the growth of other weights is small


def propose(case: Case) -> Iterable[Candidate]:
    """Before independent weights where the forecast is more even with these (``candidates``)."""
    old = next(iter(case.activations), "")
    hurt = Cause.INITIALISATION in case.causes or case.symptoms & _TREATED
    if not hurt or not case.plain or not case.even or case.depth < _FEWEST:
        return
    found = critical(old, case.depth)
    if found is None:
        return
    yield Candidate(
        "critical",
        tuple(_weights(case, old, found)),
        Cause.INITIALISATION,
        3,
        msg(
            "orthogonal weights at the critical point of {depth} layers of {old} "
            "(sigma_w {gain:.4g}, sigma_b {bias:.3g})",
            depth=case.depth,
            old=old,
            gain=found.gain,
            bias=found.bias,
        ),
    )


def _weights(case: Case, old: str, found: Critical) -> Iterable[Initialise]:
    """The first layer takes its inputs to the mean square that stands still, the last one back to 1."""
    first, last = case.weighted[0], case.weighted[-1]
    size = case.probe.inputs[0].value.rms if case.probe and case.probe.inputs else 1.0
    down = math.sqrt(found.square - found.bias**2)
    for e in case.even:
        hidden = e.activation == old
        gain, bias = (found.gain, found.bias) if hidden else (e.gain, 0.0)
        rest = tuple(name for name in e.layers if name not in (first, last))
        if first in e.layers and hidden and 0 < size < math.inf:
            yield Initialise((first,), old, down / size, "orthogonal", bias)
        elif first in e.layers:
            rest = (first, *rest)
        if rest:
            yield Initialise(rest, e.activation, gain, "orthogonal", bias)
        if last in e.layers and last != first:
            up = found.gain / down if e.activation == "linear" else gain
            yield Initialise((last,), e.activation, up, "orthogonal", bias)
