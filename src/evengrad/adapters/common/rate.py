"""The largest stable learning rate in a probe, alike for every framework."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from evengrad.theory.stability import WALK, first_step, verdict
from evengrad.values.message import msg
from evengrad.values.probe import LaterRate, Probe, Rate
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
            found,
            msg(
                "the largest stable learning rate could not be worked out: {brief}",
                brief=brief(error),
            ),
        )
    if made is None:
        return found
    if sharpness is not None:
        try:
            made = replace(made, sharpness=sharpness())
        except Exception as error:
            note = msg(
                "the Hessian's largest eigenvalue could not be worked out, the learning rate is judged by "
                "forward passes alone: {error}",
                error=error,
            )
            found = _noted(found, note)
    return replace(found, rate=made)


def _noted(found: Probe, note: str) -> Probe:
    return replace(found, notes=(*found.notes, note if "\n" not in note else note.splitlines()[0]))


STEPS = 4
"""Small ones behind which the critical rate is measured once more; with ``precise`` it is ``WALK`` of them."""
PART = 0.25
"""Of the critical rate, in such a step: half of what lowers a parabola most."""


class Path(Protocol):
    """The way of the weights along coming updates, one after another, on one batch."""

    def critical(self, near: float) -> float:
        """The critical rate along the coming update from where they are. near: where it may be."""

    def move(self, rate: float) -> float:
        """Take it so far; the loss then."""


def with_later(found: Rate, path: Path, precise: bool) -> Rate:
    """The rate with what its critical rate becomes, where that is asked for or the rate is too large.

    path: begins with its ``move`` at the weights that ``found`` is of.
    """
    if not precise and verdict(found) == "safe":
        return found
    steps = WALK if precise else STEPS
    critical, loss, lowest = found.critical, math.nan, found.critical
    try:
        for _ in range(steps):
            if not 0 < critical < math.inf:
                return found
            loss = path.move(PART * critical)
            critical = path.critical(critical)
            lowest = min(lowest, critical)
    except Exception:  # it cannot be differentiated again: what is known of the first step stands
        return found
    if not math.isfinite(loss):
        return found
    return replace(found, later=LaterRate(steps, loss, critical, lowest))


def updates_to_begin(weights: Iterable[float], moves: Iterable[float], epsilon: float) -> float:
    """How many coming updates the search's first step is.

    Args:
        weights: Euclidean norms of the weights that move.
        moves: those of their moves.
        epsilon: of the shortest dtype among them.
    """
    return first_step(math.hypot(*weights), math.hypot(*moves), epsilon)
