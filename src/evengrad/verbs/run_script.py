"""Run the user's own script, unchanged, to its end, and watch every optimizer that it steps."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from evengrad.adapters.common.sessions import Armed, TrialSession
from evengrad.errors import EvengradError
from evengrad.recording.guard import GuardStopError
from evengrad.recording.session import RunListener, Watching
from evengrad.recording.settings import Settings
from evengrad.values.run import RunStatus, Subject
from evengrad.verbs.host import armed, as_main, execute, expect, own_frames

log = logging.getLogger("evengrad")


class TrialOverError(BaseException):
    """Ends a trial's script; a BaseException, so that no ``except Exception`` of the script's swallows it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a watched script ended. runs: the run files, one for each optimizer that was stepped; empty
    where nothing was seen or written. watched: how many optimizers were. stopped: the guard's error, if it
    stopped the script. error: what the script raised otherwise, with its own frames only. code: what it gave
    sys.exit.
    """

    runs: tuple[Path, ...]
    watched: int
    stopped: GuardStopError | None = None
    error: BaseException | None = None
    code: object = None


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
) -> Outcome:
    """Run a script (or, with ``module``, a module by its dotted name) as ``python target`` would.

    listener: told of everything that happens. trial: also changes the training and ends it by TrialOverError.
    source: run in the place of the script's own, under its name. function: called in it. Ctrl-C ends the
    script and the runs ("interrupted"), and comes back as the outcome's error. Raises ScriptError where there
    is no such script.
    """
    name = target.rpartition(".")[2] if module else Path(target).stem
    chosen = replace(settings or Settings(), name=name)
    session = _LiveSession(chosen, target, listener, trial)
    with as_main(target, arguments, module), armed(session):
        expect(target, module)
        try:
            execute(target, module, source, function)
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
            own = error.with_traceback(own_frames(error.__traceback__))
            stopped = session.stopped  # the script may have raised its own error from ours
            return session.outcome("failed", error=own, stopped=stopped)
        return session.outcome("finished", stopped=session.stopped)


class _LiveSession:
    """One watched script: arms the adapter of each framework that it imports."""

    def __init__(
        self,
        settings: Settings,
        script: str,
        listener: RunListener | None,
        trial: TrialSession | None,
    ) -> None:
        self.settings = settings
        self.script = script
        self.open = True
        self._listener = listener
        self._trial = trial
        self._armed: dict[str, Armed] = {}
        self._trying: list[Armed] = []
        self._runs: list[Watching] = []
        self._told = False

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
            if self._trial is not None:
                trying = importlib.import_module(f"evengrad.adapters.{framework}.trying")
                self._trying.append(trying.arm(self._trial))
            adapter = importlib.import_module(f"evengrad.adapters.{framework}.live")
            self._armed[framework] = adapter.arm(self)

    def watching(self, subject: Subject) -> Watching:
        """A new run, for one optimizer."""
        self._runs.append(Watching(self.settings, subject, self._listener))
        return self._runs[-1]

    def trouble(self, error: BaseException) -> None:
        """Log an error of our own once; the script goes on unwatched."""
        if not self._told:
            self._told = True
            log.warning(
                "evengrad cannot watch this training (%s: %s); it goes on without.",
                type(error).__name__,
                error,
                exc_info=log.isEnabledFor(logging.DEBUG),
            )

    def fail(self, error: EvengradError) -> NoReturn:
        """What cannot be watched at all."""
        raise error

    def close(self) -> None:
        """Take every patch off."""
        self.open = False
        for one in [*self._armed.values(), *self._trying]:
            one.disarm()
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
        """End every run."""
        self.close()
        for watching in self._runs:
            watching.end(status)
        paths = tuple(w.path for w in self._runs if w.path is not None)
        return Outcome(paths, len(self._runs), stopped, error, code)
