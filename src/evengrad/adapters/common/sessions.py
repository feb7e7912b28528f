"""What an adapter reports to: the protocols of the doors ``script``, ``live`` and ``trying``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from evengrad.errors import CannotChangeError, EvengradError
from evengrad.recording.session import Watching
from evengrad.recording.settings import Settings
from evengrad.values.change import Change
from evengrad.values.fact import Fact, Where
from evengrad.values.probe import Probe
from evengrad.values.run import Subject


class Session(Protocol):
    """What an armed adapter reports to. fail, failed and trouble do not return: they stop the script, as
    deliver and enough do, but for those of a trial.

    precise: whether to take the largest stable learning rate from the Hessian. several: whether later trainings
    are wanted, too: then the script goes on where it may begin one, and trains. measured: whether any was.
    """

    precise: bool
    several: bool

    @property
    def measured(self) -> bool: ...

    def starting(self) -> None:
        """The script has come to its first training step, and measuring begins."""

    def wanted(self) -> bool:
        """One more training begins: whether it is to be measured, and not to be let by."""

    def deliver(self, probe: Probe) -> None:
        """Measured; no other training comes after it."""

    def keep(self, probe: Probe, ahead: Where | None) -> int:
        """Measured; returns where the script is to go on, to what begins another training.

        Args:
            probe: of this one.
            ahead: the line of that, where it is known.

        Returns:
            Its place among those that were measured, for ``add``.
        """

    def add(self, place: int, facts: Sequence[Fact]) -> None:
        """What was seen of a training after it was measured."""

    def enough(self) -> None:
        """No other training comes: stops the script."""

    def passing(self) -> None:
        """A step of a training that is let by, or was measured: stops the script where enough was seen."""

    def fail(self, error: EvengradError) -> NoReturn:
        """Could not measure, for a reason that the user can remove."""

    def failed(self, error: Exception) -> NoReturn:
        """The script itself failed, with this, which the adapter had put off; its traceback is complete."""

    def trouble(self, error: Exception) -> NoReturn:
        """Could not measure, by a fault of our own."""


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
        """Something of ours went wrong before there was a run: said once."""


class LossSession(Protocol):
    """What is told of the losses that a script backpropagates."""

    def targets(self, loss: str, values: Any, place: int = 0) -> None:
        """What a loss function compares with, as an array: "crossentropy" (class numbers or one-hot rows),
        "binary_crossentropy", "mse", "mae" or another name, whose constant baseline is then not known. place:
        of the function among those of one backward pass.
        """

    def backpropagated(self, loss: float, own: tuple[float, ...]) -> None:
        """A backward pass. own: the plain mean over its examples of each loss function in it."""


class TrialSession(LossSession, Protocol):
    """What an adapter that changes a script's training and counts its steps reports to (trying.py).

    Attributes:
        changes: to be made when the training starts, in this order.
        seed: added to every seed that the script sets; what it does not seed is seeded with it.
        withheld: one example in so many is kept out of the loss and told of apart; 0 for none.
        measured: whether the first step is probed, too.
    """

    changes: tuple[Change, ...]
    seed: int
    withheld: int
    measured: bool

    def started(self) -> None:
        """The changes are made, and the first step comes. Called once."""

    def refuse(self, error: CannotChangeError) -> NoReturn:
        """A change does not fit this model or optimizer: the script is stopped."""

    def note(self, text: str) -> None:
        """What a change did in this training, one line for the user."""

    def held_out(self, loss: float, examples: int) -> None:
        """Mean loss of so many withheld examples, in the step that is being made."""

    def epoch(self, steps: int) -> None:
        """How many steps show every example once; steps beyond see known examples again."""

    def stepped(self) -> bool:
        """An update was made, or held back by the guard. Whether the budget is now used up: the adapter then
        probes the trained model, calls ``probed``, and stops the script by ``over``.
        """

    def opened(self, probe: Probe) -> None:
        """The model with its changes at its first step."""

    def probed(self, probe: Probe) -> None:
        """The model at the end of the budget."""

    def over(self) -> None:
        """Stops the script, or returns, where it is to go on to its own end."""


class InquirySession(Protocol):
    """What an adapter that looks for where a NaN or an infinity was born reports to (inquiry.py).

    The script runs again from its start, in a process of its own, unwatched and unguarded, for this alone.

    Attributes:
        step: the first step, 0-based and counted over all optimizers, whose every operation is looked at:
            before it nothing is, so that it costs nothing; from it on each step, until one goes wrong.
    """

    step: int

    def born(self, fact: Fact) -> NoReturn:
        """Found: a fact of kind "born". Stops the script."""

    def trouble(self, error: Exception) -> NoReturn:
        """Could not look, by a fault of our own."""


@dataclass(frozen=True, slots=True)
class Armed:
    """disarm: take every patch off again. flush: the script has ended; deliver what was measured, if
    anything was, else return.
    """

    disarm: Callable[[], None]
    flush: Callable[[], None]
