"""The only places that import a framework: one folder each, with identical file names.

probe.py has ``probe(model, *, loss, batch, optimizer) -> Probe``; script.py has ``arm(session) -> Armed``,
which steps into the user's unmodified script.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, Protocol

from evengrad.errors import EvengradError
from evengrad.probe import Probe
from evengrad.run import Subject
from evengrad.watching import Settings, Watching


class Session(Protocol):
    """What an armed adapter reports to. deliver and fail do not return: they stop the script.

    precise: whether to take the largest stable learning rate from the Hessian.
    """

    precise: bool

    def starting(self) -> None:
        """The script has come to its first training step, and measuring begins."""

    def deliver(self, probe: Probe) -> NoReturn:
        """Measured."""

    def fail(self, error: EvengradError) -> NoReturn:
        """Could not measure, for a reason that the user can mend."""


class LiveSession(Protocol):
    """What an adapter that watches a script to its end reports to. script: its name. closed: the script
    is over.
    """

    settings: Settings
    script: str
    closed: bool

    def watching(self, subject: Subject) -> Watching:
        """A new run, for one optimizer."""

    def trouble(self, error: BaseException) -> None:
        """Something of ours went wrong before there was a run: logged once."""


@dataclass(frozen=True, slots=True)
class Armed:
    """disarm: take every patch off again. flush: the script has ended; deliver what was measured, if
    anything was, else return.
    """

    disarm: Callable[[], None]
    flush: Callable[[], None]
