"""A training being watched: takes what an adapter reads, writes the run, and decides what becomes of a step.

Adapters read and execute; nothing here knows a framework. No method raises, whatever goes wrong inside: the
error is logged once, and the watch goes off.
"""

from __future__ import annotations

import functools
import logging
import math
import re
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from evengrad.recording import blackbox, failure, guard, loss_scaler, trackers
from evengrad.recording.blackbox import BlackBox, Origin
from evengrad.recording.guard import Action, GuardStopError, Tally
from evengrad.recording.listener import RunListener, SafeListener
from evengrad.recording.loss_scaler import ScalerWatch
from evengrad.recording.monitor import Monitor, gradient_rms
from evengrad.recording.rate_course import RateCourse
from evengrad.recording.settings import Settings
from evengrad.recording.trackers.tracking import Tracking
from evengrad.recording.whereabouts import Whereabouts
from evengrad.recording.writer import Writer
from evengrad.values.fact import Fact, Where
from evengrad.values.message import joined, msg
from evengrad.values.run import Detail, Event, EventKind, Floats, RunStatus, Step, Subject, event_of

log = logging.getLogger("evengrad")
_BOXES = 3  # black boxes a run keeps; the first ones, nearest to the cause
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RefusedStep:
    """A step that did not pass the guard, as the adapter saw it.

    Attributes:
        step: its figures.
        norms: of the gradients before the clip, (tensors,).
        kind: why it was refused.
        box: makes the black box, the origin with it; called at most once, with why the step was refused.
        what: was wrong, in words; empty where norms and origin say it.
        where: in which processes.
    """

    step: Step
    norms: Floats
    kind: EventKind
    box: Callable[[EventKind], BlackBox]
    what: str = ""
    where: Whereabouts = field(default_factory=Whereabouts)


def _safely(
    method: Callable[Concatenate[Watching, P], T],
) -> Callable[Concatenate[Watching, P], T | None]:
    @functools.wraps(method)
    def guarded(self: Watching, /, *args: P.args, **kwargs: P.kwargs) -> T | None:
        if self.off:
            return None
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self.trouble(error)
            return None

    return guarded


class Watching:
    """One watched optimizer. off: nothing is read, written or guarded any more."""

    def __init__(
        self, settings: Settings, subject: Subject, listener: RunListener | None = None
    ) -> None:
        self.settings = settings
        self.subject = subject
        self.off = False
        self.stopped: GuardStopError | None = None
        self.path: Path | None = None
        self._listener = SafeListener(listener)
        self.trackings: list[Tracking] = []
        self._trackers: list[SafeListener] = []
        self._writer: Writer | None = None
        self._monitor = Monitor(subject.tensors, settings.clip is not None)
        self._tally = Tally(settings.guard or guard.Guard())
        self._scaler = ScalerWatch()
        self._recent: deque[tuple[int, Floats]] = deque(maxlen=64)
        self._written = -1
        self._boxes = 0
        self._course = RateCourse()
        self._suspects: list[Fact] = []
        self._schedule: tuple[Where | None, dict[str, Any]] = (None, {})
        self._facts: set[tuple[str, Where | None]] = set()
        self._seen: dict[str, Any] = {}
        self._started = time.monotonic()
        self._ended = False
        self._open()

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def ceiling(self) -> float:
        """The largest norm of all gradients that passes the guard now."""
        return guard.ceiling(self.settings.guard, self._monitor.norms)

    @_safely
    def step(self, step: Step, norms: Floats) -> None:
        """A step, with the norms of the gradients before the clip, (tensors,). One that was not applied
        was skipped by the script's own loss scaler; see ``refuse`` for those that the guard refuses.
        """
        self._keep(step, norms)
        if not step.applied:
            return
        self._tally.passed()
        for event in self._monitor.step(step):
            self._event(event)
            self._write_recent()

    @_safely
    def detail(self, detail: Detail) -> None:
        """An observed step in full."""
        if self._writer is not None:
            self._writer.detail(detail)
        self._tell("detail", detail)
        for event in self._monitor.detail(detail):
            self._event(event)

    def refuse(self, refused: RefusedStep) -> Action:
        """A step that the guard refused: record it, save the black box, and say what to do.

        After Action.STOP, ``stopped`` is the error to raise. Without a guard the step went through; it is
        recorded, and the action is SKIP, which means nothing to execute.
        """
        action = Action.SKIP if self.settings.guard is None else self._tally.refused()
        message: str = msg("refused ({kind})", kind=refused.kind.words)
        try:
            self._keep(refused.step, refused.norms)
            origin, saved = self._box(refused)
            message = _in_words(refused, origin, self.subject)
            values: dict[str, Any] = {
                "norm": refused.step.norm,
                "box": None if saved is None else str(saved),
                "phase": None if origin is None else origin.phase,
            }
            if refused.where.ranks:
                message = f"{refused.where}: {message}"
                values["began"] = list(refused.where.ranks)
            layer = None if origin is None else origin.layer
            self._event(Event(refused.step.step, refused.kind, message, layer, values))
            self._write_recent()
            if self.settings.guard is not None:
                self._event(_done(action, refused.step.step, layer))
            if action is Action.STOP:
                message = joined("\n", (message, self._way_on(saved)))
                if self._writer is not None:
                    self._writer.flush()
        except Exception as error:
            self.trouble(error)
        if action is Action.STOP:
            self.stopped = GuardStopError(
                msg("Step {step}: {message}", step=refused.step.step, message=message)
            )
        return action

    @_safely
    def scaler(self, step: int, scale: float, skipped: bool) -> None:
        """A step under a loss scaler (GradScaler, LossScaleOptimizer), and whether that one skipped it."""
        verdict = self._scaler.step(step, scale, skipped)
        first = self._scaler.first or scale
        if verdict == "overflow":
            text = msg(
                "the loss scaler skips this step at scale {scale:g}: more than its own search explains; "
                "the gradients overflow in half precision",
                scale=scale,
            )
        elif verdict == "calibrating" and len(self._scaler.skips) == 1:
            text = msg(
                "the loss scaler skips while it searches for its scale, from {first:g} down; up to "
                "{calibration} skips would be normal for gradients up to 1",
                first=first,
                calibration=loss_scaler.calibration(first),
            )
        else:
            return
        self._event(
            Event(step, EventKind.SCALER, text, values={"scale": scale, "verdict": verdict})
        )

    def note(self, step: int, text: str) -> None:
        """Something that the user should know, such as what cannot be watched."""
        self._event(Event(step, EventKind.NOTE, text))

    @_safely
    def fact(self, fact: Fact) -> None:
        """Something that was seen of the script's loop; each kind and line of a run once."""
        key = (fact.kind, fact.where)
        if key in self._facts:
            return
        self._facts.add(key)
        event = event_of(fact)
        if self._writer is not None:
            self._writer.event(event)
        self._tell("event", event)

    @_safely
    def seen(self, /, **values: Any) -> None:
        """What the training is to learn, as far as it is known by now; see ``recording.lesson``."""
        self._seen |= values
        if self._writer is not None:
            self._writer.about("seen", self._seen)

    def validated(self, loss: float) -> None:
        """The loss on other data, at the end of an epoch."""
        self.seen(validation=[*self._seen.get("validation", ()), loss])

    def scheduled(self, place: Where | None, values: dict[str, Any]) -> None:
        """What changes the learning rate. place: the line, where it does with each step; values: its names, and
        as "given" the rate that the optimizer was made with.
        """
        self._schedule = place, values
        if "given" in values:
            self.seen(given_rate=values["given"], schedule=values["kind"])

    def suspect(self, fact: Fact) -> None:
        """What is a mistake only where the training suffers, which its end tells."""
        self._suspects.append(fact)

    @_safely
    def _judge_suspects(self) -> None:
        bad = self.stopped is not None or self._course.failed()
        for fact in self._suspects if bad else ():
            self.fact(fact)

    @_safely
    def _judge_rate(self) -> None:
        found = self._course.gone()
        if found is not None:
            place, values = self._schedule
            self.fact(Fact("rate_gone", place, found.get("since", 0), values | found))

    def trouble(self, error: BaseException) -> None:
        """An error of our own: said once; the watch goes off and the training goes on."""
        if self.off:
            return
        self.off = True
        failure.tell(error)

    def end(self, status: RunStatus) -> None:
        """The training is over; the file is complete after this. Later calls do nothing."""
        if self._ended:
            return
        self._judge_rate()
        self._judge_suspects()
        self._ended = True
        if self._writer is not None:
            self._writer.about("ended", self.now)
            self._writer.close("stopped" if self.stopped is not None else status)
        self._tell("end", "stopped" if self.stopped is not None else status)

    # --- inside ----------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            if self.settings.folder is not None:
                folder = _new_folder(self.settings.folder, self.settings.name)
                self._writer = Writer(folder, self.subject, log.warning)
                self.path = self._writer.path
        except Exception as error:
            log.warning(
                "No run file can be written (%s); the training is watched without one.", error
            )
        self._track()
        self._tell("begin", self.subject, self.path)
        self._started = time.monotonic()  # a tracker may take seconds to begin

    def _track(self) -> None:
        folder = None if self.path is None else self.path.parent
        for name in self.settings.to:
            self.trackings.append(
                trackers.tracking(name, self.settings.name, folder, self.settings.held)
            )
        self._trackers = [SafeListener(tracking) for tracking in self.trackings]

    def _tell(self, name: str, *values: object) -> None:
        """Whoever listens."""
        for listener in (self._listener, *self._trackers):
            listener.call(name, *values)

    def _keep(self, step: Step, norms: Floats) -> None:
        self._recent.append((step.step, norms))
        self._course.note(step)
        if self._writer is not None:
            self._writer.step(step)
        self._tell("step", step)

    def _event(self, event: Event) -> None:
        if self._writer is not None:
            self._writer.event(event)
        self._tell("event", event)
        if not self._listener and event.kind is not EventKind.STOP:
            log.warning("step %d: %s", event.step, event.message)

    def _write_recent(self) -> None:
        new = [(step, norms) for step, norms in self._recent if step > self._written]
        if self._writer is not None and new:
            tensors = self.subject.tensors
            self._writer.recent([(step, gradient_rms(tensors, norms)) for step, norms in new])
            self._written = new[-1][0]

    def _box(self, refused: RefusedStep) -> tuple[Origin | None, Path | None]:
        if self._boxes >= _BOXES:
            return None, None
        self._boxes += 1
        try:
            box = refused.box(refused.kind)
        except Exception as error:
            self.note(
                refused.step.step, msg("the step could not be seen again: {error}", error=error)
            )
            return None, None
        if self.path is None:
            return box.origin, None
        try:
            return box.origin, blackbox.save(box, self.path.parent)
        except Exception as error:
            self.note(
                refused.step.step, msg("the black box could not be written: {error}", error=error)
            )
            return box.origin, None

    def _way_on(self, saved: Path | None) -> str:
        lines = [msg("The weights are as they were before this step.")]
        if saved is not None:
            lines.append(
                msg(
                    "Black box: {saved}; `evengrad replay {parent}` shows the step again.",
                    saved=saved,
                    parent=saved.parent,
                )
            )
        if self.path is not None:
            lines.append(msg("`evengrad report {parent}` shows the run.", parent=self.path.parent))
        return joined("\n", lines)


def _in_words(refused: RefusedStep, origin: Origin | None, subject: Subject) -> str:
    if refused.what:
        return refused.what
    if refused.kind is EventKind.NON_FINITE:
        bad = [
            t for t, n in zip(subject.tensors, refused.norms, strict=True) if not math.isfinite(n)
        ]
        what = msg(
            "the gradients of {number} of {number2} tensors are not finite",
            number=len(bad),
            number2=len(subject.tensors),
        )
        what = what if bad else msg("the squares of the gradients overflow")
    elif refused.kind is EventKind.OVERWRITE:
        what = msg("the update is larger than the weights that it would change")
    else:
        what = msg(
            "the gradient norm {norm:.3g} stands far out of the last steps'", norm=refused.step.norm
        )
    return what if origin is None else joined(": ", (what, origin.message))


def _done(action: Action, step: int, layer: str | None) -> Event:
    text = {
        Action.STOP: msg("the guard stopped the training before this step reached the weights"),
        Action.SKIP: msg("the guard skipped this step"),
        Action.ROLLBACK: msg(
            "the guard put back the last good weights and lowered the learning rate"
        ),
    }[action]
    return Event(step, EventKind(action.value), text, layer)


def _new_folder(parent: Path, name: str) -> Path:
    """A new folder ``<time>-<name>``; one of its own also for trainings started in the same second. In a
    parent that cannot be written, one of the system's temporary folders, and a line that says so.
    """
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{re.sub(r'[^A-Za-z0-9_.-]+', '_', name) or 'run'}"
    for number in range(1, 1000):
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            if folder.exists():
                continue
            other = Path(tempfile.mkdtemp(prefix=f"evengrad-{stem}-"))
            log.warning("%s cannot be written (%s); the run goes to %s", parent, error, other)
            return other
        return folder
    raise OSError(f"{parent} is full of runs of this second")


def host(values: Any) -> Floats:
    """An adapter's figures as float64."""
    return np.asarray(values, dtype=np.float64)
