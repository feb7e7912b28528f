"""Times of steps, and what one way adds to a step against another."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, TextIO

import numpy as np

CYCLE = 10
"""evengrad observes every tenth step; wherever its cost falls, it comes again after ten."""
OBSERVED = (9, 0, 1)
"""Places in the cycle: the observed step, and those next to it, where its figures may be read."""
WARM = 12
"""Steps before the counted ones. evengrad observes all of the first ten."""

Array = Any


class Speaker:
    """Messages to the parent process, a JSON line each."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __call__(self, **message: Any) -> None:
        """One message."""
        self.stream.write(json.dumps(message) + "\n")
        self.stream.flush()


@dataclass
class Samples:
    """Seconds of each counted step. before: up to the end of the backward pass; after: the rest; cpu: of all
    threads. phase: the step's place in the cycle of ten.
    """

    phase: list[int] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, step: int, times: tuple[float, float, float]) -> None:
        """The step's number and its times."""
        self.phase.append(step % CYCLE)
        for into, seconds in zip((self.before, self.after, self.cpu), times, strict=True):
            into.append(seconds)

    def json(self) -> dict[str, list[float]]:
        """To the parent; 0.1 microseconds are exact enough."""
        return {
            "phase": list(self.phase),
            **{k: [round(s, 7) for s in getattr(self, k)] for k in ("before", "after", "cpu")},
        }

    def array(self, what: str) -> Array:
        """before, after, cpu or wall (before and after together), in ms."""
        if what == "wall":
            return self.array("before") + self.array("after")
        return np.array(getattr(self, what)) * 1e3


def parts(phase: Array) -> list[Array]:
    """Places in the samples: of each observed step or neighbour of one, and of all ordinary steps together."""
    masks = [phase == p for p in OBSERVED] + [~np.isin(phase, OBSERVED)]
    return [np.flatnonzero(mask) for mask in masks]


def typical(values: Array, phase: Array) -> float:
    """Of a step on average: medians of the observed one, its neighbours and the ordinary ones, by their shares.

    So a cost that comes at every tenth step counts a tenth, and a disturbance from outside not at all.
    """
    shares = [1] * len(OBSERVED) + [CYCLE - len(OBSERVED)]
    known = [(at, share) for at, share in zip(parts(phase), shares, strict=True) if len(at)]
    medians = [np.median(values[at]) for at, _ in known]
    return float(np.average(medians, weights=[share for _, share in known]))


def added(one: Samples, bare: Samples, what: str) -> Array:
    """Differences, round by round, in ms. bare may have gone on for longer."""
    return one.array(what) - bare.array(what)[: len(one.phase)]


def resampled(one: Samples, draws: int = 400, seed: int = 0) -> Array:
    """Places in the samples, (draws, n): rounds drawn anew, with repetition, within each of the ``parts``."""
    phase = np.array(one.phase)
    random = np.random.default_rng(seed)
    drawn = np.empty((draws, len(phase)), dtype=int)
    for at in parts(phase):
        if len(at):
            drawn[:, at] = random.choice(at, (draws, len(at)))
    return drawn
