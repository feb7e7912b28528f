"""Which of the processes of one training a step went wrong in: after the gradients are averaged all of them
see the same, but each has seen its own batch and loss.
"""

from __future__ import annotations

import logging
import math
import signal
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from evengrad.recording.listener import RunListener
from evengrad.recording.whereabouts import Whereabouts
from evengrad.recording.writer import append_event, last_step, set_status
from evengrad.values.run import Detail, Event, EventKind, RunStatus, Step, Subject

log = logging.getLogger("evengrad")


@dataclass
class RankNotes(RunListener):
    """What one process saw of its own first step that was not finite.

    Attributes:
        rank: of the process.
        first: what happened there; None where there was none.
        lossless: steps whose loss of its own was not finite.
        unended: it has begun, and not come to its end.
        begins: told of each run's file when that begins.
    """

    rank: int
    first: Event | None = None
    lossless: tuple[int, ...] = ()
    unended: bool = False
    begins: Callable[[Path | None], None] | None = None

    def begin(self, _subject: Subject, path: Path | None) -> None:
        """See RunListener."""
        if self.begins is not None:
            self.begins(path)

    def step(self, step: Step) -> None:
        """See RunListener."""
        if step.loss is not None and not math.isfinite(step.loss) and len(self.lossless) < 8:
            self.lossless += (step.step,)

    def detail(self, detail: Detail) -> None:
        """See RunListener."""

    def event(self, event: Event) -> None:
        """See RunListener."""
        if self.first is None and event.kind is EventKind.NON_FINITE:
            self.first = event

    def end(self, status: RunStatus) -> None:
        """See RunListener."""


def name_ranks(path: Path, notes: Sequence[RankNotes]) -> str | None:
    """Write into the run of the first process which ones' own loss was not finite, where not all were.

    Returns:
        It in words; None where they all saw the same.
    """
    seen = [(one, one.first) for one in notes if one.first is not None]
    if len(notes) < 2 or not seen:
        return None
    step = min(event.step for _, event in seen)
    at_once = [(one, event) for one, event in seen if event.step == step]
    bad = [(one.rank, event) for one, event in at_once if one.rank in event.values.get("began", ())]
    bad = bad or [(one.rank, event) for one, event in at_once if step in one.lossless]
    if not bad or len(bad) == len(notes):
        return None
    ranks = sorted(rank for rank, _ in bad)
    first = min(bad, key=lambda pair: pair[0])[1]
    where = f"{Whereabouts(tuple(ranks), len(notes))}: "
    text = where + first.message.removeprefix(where)
    with suppress(sqlite3.Error):
        values = {**first.values, "rank": ranks[0], "ranks": ranks}
        append_event(path, Event(step, EventKind.NON_FINITE, text, first.layer, values))
    return text


def close_unended(path: Path) -> None:
    """A run whose process was ended from outside: it says so, and can be read."""
    with suppress(sqlite3.Error):
        set_status(path, "failed")


def name_killed(path: Path, killed: Mapping[int, int]) -> None:
    """Write into a run which processes a signal ended, by its number, and say it."""
    words = [f"rank {rank} was ended by {_signal(killed[rank])}" for rank in sorted(killed)]
    text = f"{'; '.join(words)}: the others could not go on without it"
    log.warning("%s.", text)
    with suppress(sqlite3.Error):
        values = {"ranks": sorted(killed)}
        append_event(path, Event(last_step(path), EventKind.NOTE, text, values=values))


def _signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    why = " (out of memory?)" if number == signal.SIGKILL else ""
    return name + why
