"""Residual connections whose branches begin at zero.

Treats: gradients that explode or vanish by depth alone: plain stacks of normalised layers (EG401), and deep
networks whose weights are right (EG101, EG102).

Why: at the start each such layer is the identity, so that nothing grows or fades with depth; a trained scalar
lets the branches in (SkipInit: De and Smith 2020, 2002.10444; ReZero: Bachlechner 2020, 2003.04887).
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.skip import Skip
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {Symptom.NORMALISED_STACK, Symptom.EXPLODING, Symptom.VANISHING, Symptom.FADING}
_FEWEST = 4


def propose(case: Case) -> Iterable[Candidate]:
    """Around all layers whose input and output have one shape; not where the activations have flat ends, nor
    where there are residual connections.
    """
    hurt = case.symptoms & _TREATED
    if not hurt or len(case.square) < _FEWEST or case.bounded or case.branches:
        return
    plain = Symptom.NORMALISED_STACK in case.symptoms
    yield Candidate(
        "skip",
        (Skip(case.square),),
        Cause.NORMALISATION if plain else Cause.ARCHITECTURE,
        5,
        msg("residual connections around {number} layers", number=len(case.square)),
        alternative=0 if plain or Cause.ARCHITECTURE in case.causes else 1,
    )
