"""When a step must not reach the weights, and what to do then: stop, skip, or roll back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from evengrad.errors import EvengradError
from evengrad.recording.clip import AnyArray, Namespace
from evengrad.values.message import msg
from evengrad.values.run import EventKind, Floats, Tensor

_NO_CEILING = 3e38
SQUARES = 1.8e19  # its square is the largest float32


class Action(StrEnum):
    """What becomes of a step that the guard refuses. Its weights are untouched in each case.

    Attributes:
        STOP: the training ends with GuardStopError.
        SKIP: it goes on with the next batch.
        ROLLBACK: the last good weights and optimizer state are put back, the rate is lowered, and it goes on.
    """

    STOP = "stop"
    SKIP = "skip"
    ROLLBACK = "rollback"


class GuardStopError(EvengradError):
    """The guard stopped a training: its message says at which step, why, and where the evidence is."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Which steps must not reach the weights besides those that are not finite, and what to do then.

    Attributes:
        action: what to do.
        limit: skips in a row, or rollbacks in all, before it stops after all.
        spike: also refuse a finite step whose norm is more than this many times the median of the last 128;
            None: such steps are only recorded.
        lower: what a rollback multiplies the learning rate by.
    """

    action: Action = Action.STOP
    limit: int = 3
    spike: float | None = None
    lower: float = 0.5


def parse(value: str | Guard | None) -> Guard | None:
    """A guard from what a user writes.

    Args:
        value: "stop", "skip", "skip:5", "rollback", "rollback:2", "off", a Guard, or None.

    Returns:
        The guard; None for none.

    Raises:
        EvengradError: anything else.
    """
    if value is None or isinstance(value, Guard):
        return value
    name, colon, number = str(value).partition(":")
    if name == "off" and not colon:
        return None
    if name not in set(Action) or (colon and not (number.isdigit() and int(number) > 0)):
        raise EvengradError(
            msg(
                "Expected a guard such as stop, skip:3, rollback:2 or off, got {value!r}. The number: "
                "skips in a "
                "row, or rollbacks in all, after which it stops.",
                value=value,
            )
        )
    return Guard(Action(name), int(number)) if colon else Guard(Action(name))


def passes(
    xp: Namespace,
    norms: AnyArray,
    total: AnyArray,
    factors: AnyArray,
    reach: AnyArray,
    ceiling: AnyArray,
) -> AnyArray:
    """Whether a step may reach the weights, worked out where the gradients are.

    What is left after the clip may not overflow when it is squared, as Adam does. A NaN fails each comparison.

    Args:
        xp: the functions that the arithmetic needs.
        norms: of the gradients before the clip, (tensors,).
        total: norm of all together, ().
        factors: the clip's, (tensors,) or ().
        reach: from ``reach``, (tensors,).
        ceiling: the largest total that passes, from ``ceiling``, ().

    Returns:
        A bool scalar.
    """
    clipped = norms * factors
    good = xp.isfinite(norms) & (clipped <= SQUARES) & (clipped * reach <= 1)
    refused = xp.sum(xp.where(good, reach * 0, reach * 0 + 1))
    return (total <= ceiling) & (refused == 0)


def reach(tensors: Sequence[Tensor], weight_rms: Floats, rate: float | None) -> Floats:
    """What a gradient's norm is multiplied by to give rms(update) / rms(weights) under plain gradient
    descent: a step where that exceeds 1 leaves less of a weight matrix than it overwrites (as in EG701).

    A matrix that starts at or near zero counts with its variance-preserving scale, 1 / sqrt(fan_in).

    Args:
        tensors: the trained ones.
        weight_rms: of each, (tensors,).
        rate: the learning rate; None for other optimizers, whose steps are bounded.

    Returns:
        (tensors,); 0 for biases, scales and embeddings, and for all where the rate is None.
    """
    found = np.zeros(len(tensors))
    if rate is None or not math.isfinite(rate):
        return found
    for i, tensor in enumerate(tensors):
        if tensor.fan_in:
            scale = max(float(weight_rms[i]), 1 / math.sqrt(tensor.fan_in))
            found[i] = rate / (math.sqrt(math.prod(tensor.shape)) * scale)
    return np.where(np.isfinite(found), found, 0.0)


def ceiling(guard: Guard | None, norms: Sequence[float]) -> float:
    """The largest norm of all gradients that passes.

    Args:
        guard: whose ``spike`` says how many times the median that is.
        norms: of all gradients in the last steps; fewer than 20 set no ceiling.

    Returns:
        The norm; about the largest float32 where there is no ceiling.
    """
    if guard is None or guard.spike is None or len(norms) < 20:
        return _NO_CEILING
    return guard.spike * float(np.median(norms))


def reason(norms: Floats, factors: Floats, reach: Floats, total: float, limit: float) -> EventKind:
    """Why ``passes`` said no.

    Args:
        norms: as there.
        factors: as there.
        reach: as there.
        total: as there.
        limit: the ceiling.

    Returns:
        NON_FINITE, OVERWRITE or SPIKE.
    """
    if not (np.isfinite(norms) & (norms * factors <= SQUARES)).all():
        return EventKind.NON_FINITE
    if (norms * factors * reach > 1).any():
        return EventKind.OVERWRITE
    return EventKind.SPIKE if total > limit else EventKind.NON_FINITE


class Tally:
    """Counts what a guard did, and says what to do next."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self._count = 0

    def refused(self) -> Action:
        """A step was refused: what to do. After ``limit`` skips in a row, or rollbacks in all: stop."""
        self._count += 1
        if self.guard.action is Action.STOP or self._count > self.guard.limit:
            return Action.STOP
        return self.guard.action

    def passed(self) -> None:
        """A step reached the weights: skips are counted in a row, rollbacks in all."""
        if self.guard.action is Action.SKIP:
            self._count = 0
