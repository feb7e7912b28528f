"""Run the user's own script, unchanged, to its end, and watch every optimizer that it steps."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from evengrad.adapters.common.sessions import Armed, TrialSession
from evengrad.errors import EvengradError, InternalError
from evengrad.recording import failure
from evengrad.recording.guard import GuardStopError
from evengrad.recording.listener import RunListener
from evengrad.recording.session import Watching
from evengrad.recording.settings import Settings
from evengrad.recording.trackers.tracking import Tracking
from evengrad.values.run import RunStatus, Subject
from evengrad.verbs.follow import Processes, following
from evengrad.verbs.host import armed, as_main, execute, expect, own_frames
from evengrad.verbs.launch import typed
from evengrad.verbs.ranks import RankNotes, close_unended, name_killed, name_ranks


class TrialOverError(BaseException):
    """Ends a trial's script; a BaseException, so that no ``except Exception`` of the script's swallows it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a watched script ended.

    Attributes:
        runs: the run files, one for each optimizer that was stepped; empty where nothing was seen or written.
        watched: how many optimizers were.
        stopped: the guard's error, if it stopped the script.
        error: what the script raised otherwise, with its own frames only.
        code: what it gave sys.exit.
        failure: what kept us, by a fault of our own, from watching all of it.
        tracked: the run files with the trackers that wait for their findings.
    """

    runs: tuple[Path, ...]
    watched: int
    stopped: GuardStopError | None = None
    error: BaseException | None = None
    code: object = None
    failure: InternalError | None = None
    tracked: tuple[tuple[Path | None, Tracking], ...] = ()


@dataclass(frozen=True)
class _WatchTask:
    """A process that the script starts is watched and guarded as the script; the first one's run is kept."""

    settings: Settings
    script: str
    until_told: ClassVar[bool] = False

    def of(self, script: str, /) -> _WatchTask:
        """See Task."""
        name = (
            Path(script).stem
            if os.sep in script or script.endswith(".py")
            else script.rpartition(".")[2]
        )
        return _WatchTask(replace(self.settings, name=name), script)

    def __call__(self, number: int, body: Callable[[], None], tell: Callable[..., None]) -> None:
        settings = replace(self.settings, held=False)
        if number:
            settings = replace(settings, folder=None, to=())
        begun: list[Path] = []

        def begins(path: Path | None) -> None:
            begun.extend([] if path is None else [path])
            tell((tuple(begun), len(begun), None, RankNotes(number, unended=True)), last=False)

        notes = RankNotes(number, begins=begins)
        session = _WatchSession(settings, self.script, notes, None, failure.log_it)
        status: RunStatus = "failed"
        try:
            with failure.listening(session.failed), armed(session):
                body()
            status = "finished"
        finally:
            outcome = session.outcome(status)
            stopped = session.stopped
            text = None if stopped is None else str(stopped)
            tell((outcome.runs, outcome.watched, text, replace(notes, begins=None)))


class _RefusedError(BaseException):
    """Ends a script that cannot be watched at all; no ``except Exception`` of its own swallows it."""


def run_script(
    target: str,
    arguments: Sequence[str] = (),
    *,
    module: bool = False,
    settings: Settings | None = None,
    listener: RunListener | None = None,
    trial: TrialSession | None = None,
    source: str | None = None,
    function: str | None = None,
    failed: Callable[[InternalError], None] = failure.log_it,
) -> Outcome:
    """Run a script as ``python target`` would, and watch it to its end.

    Args:
        target: the script's path, or with ``module`` a dotted name.
        arguments: its ``sys.argv[1:]``.
        module: whether the target is a module.
        settings: how to watch.
        listener: told of everything that happens.
        trial: also changes the training and ends it by TrialOverError.
        source: run instead of the script's own, under its name.
        function: called in it.
        failed: told of the first failure of our own, in the moment that it happens; the script goes on.

    Returns:
        What came of it. Ctrl-C ends the script and the runs ("interrupted"), and is the outcome's error.

    Raises:
        ScriptError: there is no such script.
        MissingFrameworkError: its framework is too old.
    """
    target, arguments, module = typed(target, arguments, module)
    name = target.rpartition(".")[2] if module else Path(target).stem
    chosen = replace(settings or Settings(), name=name)
    session = _WatchSession(chosen, target, listener, trial, failed)
    session.command = {
        "target": target,
        "arguments": list(arguments),
        "module": module,
        "folder": os.getcwd(),
    }
    watching = _WatchTask(chosen, target)
    with (
        as_main(target, arguments, module),
        failure.listening(session.failed),
        armed(session),
        following(watching, session.close) as session.processes,
    ):
        expect(target, module)
        try:
            execute(target, module, source, function)
        except _RefusedError as refused:
            session.outcome("failed")
            raise refused.args[0] from None
        except TrialOverError:
            return session.outcome("finished")
        except SystemExit as exit_:
            return session.outcome(
                "finished" if exit_.code in (None, 0) else "failed", code=exit_.code
            )
        except KeyboardInterrupt as error:
            return session.outcome("interrupted", error=error)
        except GuardStopError as error:
            return session.outcome("stopped", stopped=error)
        except Exception as error:
            if session.stopped is not None and GuardStopError.__name__ in str(error):
                return session.outcome("stopped", stopped=session.stopped)  # as JAX calls back
            if trial is not None and TrialOverError.__name__ in str(error):
                return session.outcome("finished")  # the same
            if failure.is_own(error):
                session.failed(failure.internal("watching this training, and ended it", error))
                return session.outcome("failed")
            own = error.with_traceback(own_frames(error.__traceback__))
            stopped = session.stopped  # the script may have raised its own error from ours
            return session.outcome("failed", error=own, stopped=stopped)
        return session.outcome("finished", stopped=session.stopped)


class _WatchSession:
    """One watched script: arms the adapter of each framework that it imports."""

    def __init__(
        self,
        settings: Settings,
        script: str,
        listener: RunListener | None,
        trial: TrialSession | None,
        failed: Callable[[InternalError], None],
    ) -> None:
        self.failure: InternalError | None = None
        self._failed = failed
        self.settings = settings
        self.script = script
        self.open = True
        self._listener = listener
        self._trial = trial
        self._armed: dict[str, Armed] = {}
        self._trying: list[Armed] = []
        self._runs: list[Watching] = []
        self.command: dict[str, Any] | None = None
        self.processes: Processes | None = None

    @property
    def closed(self) -> bool:
        """Whether the script is over."""
        return not self.open

    @property
    def stopped(self) -> GuardStopError | None:
        """The error of the guard that stopped a run, if one did."""
        return next((w.stopped for w in self._runs if w.stopped is not None), None)

    def arm(self, framework: str) -> None:
        """Step into a framework that the script has just imported."""
        if self.open and framework not in self._armed:
            try:
                if self._trial is not None:
                    trying = importlib.import_module(f"evengrad.adapters.{framework}.trying")
                    self._trying.append(trying.arm(self._trial))
                adapter = importlib.import_module(f"evengrad.adapters.{framework}.live")
                self._armed[framework] = adapter.arm(self)
            except Exception as error:
                self.trouble(error)

    def watching(self, subject: Subject) -> Watching:
        """A new run, for one optimizer."""
        if self.command is not None:
            subject = replace(subject, settings={**subject.settings, "command": self.command})
        self._runs.append(Watching(self.settings, subject, self._listener))
        return self._runs[-1]

    def trouble(self, error: BaseException) -> None:
        """An error of ours, or settings that do not fit: said; the script goes on unwatched."""
        failure.tell(error)

    def failed(self, error: InternalError) -> None:
        """A failure of our own: the first one is said."""
        if self.failure is None:
            self.failure = error
            self._failed(error)

    def fail(self, error: EvengradError) -> NoReturn:
        """What cannot be watched at all."""
        raise _RefusedError(error)

    def close(self) -> None:
        """Take every patch off."""
        self.open = False
        for one in [*self._armed.values(), *self._trying]:
            try:
                one.disarm()
            except Exception as error:
                self.trouble(error)
        self._armed.clear()
        self._trying.clear()

    def outcome(
        self,
        status: RunStatus,
        *,
        stopped: GuardStopError | None = None,
        error: BaseException | None = None,
        code: object = None,
    ) -> Outcome:
        """End every run, and take those of the processes that the script started. Of those that the guard
        ended only the one that it stopped is called stopped.
        """
        self.close()
        for watching in self._runs:
            ended_well = status == "stopped" and watching.stopped is None
            watching.end("finished" if ended_well else status)
        paths = tuple(w.path for w in self._runs if w.path is not None)
        watched = len(self._runs)
        told = [] if self.processes is None else self.processes.told()
        for runs, count, text, _ in told:
            paths, watched = paths + runs, watched + count
            if text is not None:  # what the script raised then is an echo of it
                stopped, error = stopped or GuardStopError(text), None
        notes = [one for *_, one in told]
        for one, (runs, *_) in zip(notes, told, strict=True):
            for path in runs if one.unended else ():
                close_unended(path)
        if len(paths) == 1:
            name_ranks(paths[0], notes)
        killed = {} if self.processes is None else self.processes.killed()
        if killed and paths:
            name_killed(paths[0], killed)
        tracked = tuple((w.path, one) for w in self._runs for one in w.trackings)
        return Outcome(paths, watched, stopped, error, code, self.failure, tracked)
