"""The largest stable learning rate in a probe, alike for every framework."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from evengrad.theory.stability import first_step
from evengrad.values.probe import Probe, Rate
from evengrad.values.wording import brief


def with_rate(
    found: Probe, rate: Callable[[], Rate | None], sharpness: Callable[[], float] | None
) -> Probe:
    """The probe with its largest stable rate; the probe stands, whatever becomes of this.

    Args:
        found: the probe.
        rate: works it out by forward passes; None where there is no rate to judge.
        sharpness: works out the Hessian's largest eigenvalue; called after ``rate``, or None.
    """
    try:
        made = rate()
    except Exception as error:
        return _noted(
            found, f"the largest stable learning rate could not be worked out: {brief(error)}"
        )
    if made is None:
        return found
    if sharpness is not None:
        try:
            made = replace(made, sharpness=sharpness())
        except Exception as error:
            note = (
                "the Hessian's largest eigenvalue could not be worked out, the learning rate is judged by "
                f"forward passes alone: {error}"
            )
            found = _noted(found, note)
    return replace(found, rate=made)


def _noted(found: Probe, note: str) -> Probe:
    return replace(found, notes=(*found.notes, note.splitlines()[0]))


def updates_to_begin(weights: Iterable[float], moves: Iterable[float], epsilon: float) -> float:
    """How many coming updates the search's first step is.

    Args:
        weights: Euclidean norms of the weights that move.
        moves: those of their moves.
        epsilon: of the shortest dtype among them.
    """
    return first_step(math.hypot(*weights), math.hypot(*moves), epsilon)
