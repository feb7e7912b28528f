"""The network's own smooth activation, shaped to its depth.

Treats: deep networks without skip connections and normalisation whose gradients explode, vanish or carry
nothing (EG101, EG102, EG203), with tanh, sigmoid, softplus, GELU, SiLU or Mish.

Why: what such a network does to the size of a signal and to the angle between two of them is its layers' map,
as often as there are layers. Shifts and scales of the activation's input and output are chosen so that the
whole network has a map near the identity (tailored activation transformation: Zhang, Botev and Martens 2022,
2203.08120; deep kernel shaping: Martens 2021, 2110.01765), with orthogonal weights.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.initialise import Initialise
from evengrad.theory.shaping import SMOOTH, deep_kernel, tailored
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {
    Symptom.EXPLODING,
    Symptom.VANISHING,
    Symptom.UNEVEN_SLOPES,
    Symptom.FADING,
    Symptom.STANDING_STILL,
}
_FEWEST = 10  # activations: fewer change little, and right weights are enough
_METHODS = (("tailored (TAT)", tailored), (msg("deep kernel shaping (DKS)"), deep_kernel))


def propose(case: Case) -> Iterable[Candidate]:
    """For the activation that the network has most of, where nothing else gives it a skip or a scale."""
    old = next(iter(case.activations), "")
    hurt = case.symptoms & _TREATED or not case.findings
    if not hurt or not case.plain or old not in SMOOTH or case.depth < _FEWEST:
        return
    for place, (method, shape) in enumerate(_METHODS, 1):
        shaping = shape(old, case.depth)
        if shaping is not None:
            weights = (
                Initialise(e.layers, "linear", 1.0 if e.activation == old else e.gain, "orthogonal")
                for e in case.even
            )
            yield Candidate(
                "shaped",
                (Activation(old, old, None, tuple[float, float, float, float](shaping)), *weights),
                Cause.ACTIVATION,
                5,
                msg(
                    "{old} shaped to {depth} layers, {method}",
                    old=old,
                    depth=case.depth,
                    method=method,
                ),
                alternative=place,
            )
