"""Who wants to see a run while it goes on: the live view, a trial, a user's own code."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from evengrad.values.run import Detail, Event, RunStatus, Step, Subject

log = logging.getLogger("evengrad")


class RunListener(Protocol):
    """What ``evengrad.watch(..., listener=)`` and ``evengrad.keras.Watch(listener=)`` call.

    All calls come from the training's own thread, between two of its steps; where the figures stay on the
    device, some steps late. Each step is given once, in order. A listener that raises is not called again: the
    error is logged, and the watch and the training go on. It is given the events that are logged without one.
    """

    def begin(self, subject: Subject, path: Path | None) -> None:
        """The first step comes.

        Args:
            subject: what is watched.
            path: of the run file; None where none is written.
        """

    def step(self, step: Step) -> None:
        """A step was made, or refused.

        Args:
            step: its loss, rate and norms.
        """

    def detail(self, detail: Detail) -> None:
        """An observed step in full: every 10th by default, and the first ten.

        Args:
            detail: figures of each tensor, and of a sample of each activation.
        """

    def event(self, event: Event) -> None:
        """Something happened: a spike, a step that was refused, units that die, and the like.

        Args:
            event: what, where and when.
        """

    def end(self, status: RunStatus) -> None:
        """The training is over, or the watch was removed.

        Args:
            status: "finished", "stopped" (by the guard), "failed" or "interrupted".
        """


class SafeListener:
    """Calls a listener until it raises, and never again after that."""

    def __init__(self, listener: RunListener | None) -> None:
        self._listener = listener

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return self._listener is not None

    def call(self, name: str, *values: object) -> None:
        """Call that method, if anybody listens."""
        if self._listener is None:
            return
        try:
            getattr(self._listener, name)(*values)
        except Exception as error:
            failed, self._listener = type(self._listener).__qualname__, None
            log.warning(
                "the listener %s raised %s in %s (%s); the training and its watch go on without it.",
                failed,
                type(error).__name__,
                name,
                error,
                exc_info=log.isEnabledFor(logging.DEBUG),
            )
