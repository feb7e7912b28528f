"""Run the user's own script, unchanged, up to its first training step, and take the probe there."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from evengrad.adapters.common.sessions import Armed
from evengrad.errors import EvengradError, ScriptError
from evengrad.recording import failure
from evengrad.values.probe import Probe
from evengrad.verbs.follow import Processes, following
from evengrad.verbs.host import EXTRAS, armed, as_main, execute, expect, own_frames

_DOING = "measuring this script"


class ScriptFailedError(Exception):
    """The script raised before it trained. cause: its exception, with its own frames only."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause.with_traceback(own_frames(cause.__traceback__))

    @property
    def missing(self) -> str | None:
        """The evengrad extra that would install the framework that the script misses."""
        name = getattr(self.cause, "name", None)
        return EXTRAS.get(name) if isinstance(self.cause, ImportError) and name else None


class ScriptExitedError(Exception):
    """The script called sys.exit before it trained. code: what it passed."""

    def __init__(self, code: object) -> None:
        super().__init__(f"exit {code}")
        self.code = code


def probe_script(
    target: str,
    arguments: Sequence[str] = (),
    *,
    module: bool = False,
    precise: bool = False,
    starting: Callable[[], None] = lambda: None,
    function: str | None = None,
    source: str | None = None,
) -> Probe:
    """Run a script and probe its first step.

    The script sees what it would see under plain Python: ``__name__ == "__main__"``, its own
    ``sys.argv`` and ``sys.path[0]``, the same working folder. Nothing is trained: the script is stopped
    at its first step, and its ``finally`` blocks run.

    Args:
        target: the script's path, or with ``module`` a dotted name.
        arguments: its ``sys.argv[1:]``.
        module: whether the target is a module.
        precise: the largest stable learning rate from the Hessian.
        starting: called when measuring begins.
        function: see ``execute``.
        source: run instead of the script's own, under its name.

    Returns:
        What was measured.

    Raises:
        ScriptError: it is missing, not Python, or never trains.
        ScriptFailedError: it raised before it trained.
        ScriptExitedError: it ended itself before it trained.
        CannotCheckError: its model, batch or loss cannot be probed.
        MissingFrameworkError: its framework is too old.
        InternalError: the fault is ours.
        KeyboardInterrupt: Ctrl-C.
    """
    session = _ProbeSession(starting, precise)
    task = _CheckTask(precise)
    try:
        with (
            as_main(target, arguments, module),
            armed(session),
            following(task, session.close, until_told=True) as session.processes,
        ):
            expect(target, module)
            execute(target, module, source, function)
            session.flush()
    except _Stopped as stopped:
        return stopped.result()
    except ScriptError:
        raise
    except SystemExit as exit_:
        if not session.has_result:
            raise ScriptExitedError(exit_.code) from None
    except Exception as error:
        if not session.has_result:
            if failure.is_own(error):
                raise failure.internal(_DOING, error) from error
            raise ScriptFailedError(error) from None
    if session.result is not None:
        return session.result.result()
    if session.has_result:
        assert session.processes is not None
        return _Stopped(*session.processes.found[0]).result()
    raise ScriptError(
        f"{target} ran to its end without a training step that evengrad can see. Expected Keras "
        "`model.fit(...)`, or `loss.backward()` and `optimizer.step()` in PyTorch. For another kind of "
        "loop call `evengrad.check(model, loss=..., batch=(x, y))` in the script."
    )


@dataclass(frozen=True)
class _CheckTask:
    """The first process that a script starts is probed as the script would be; the others go their way."""

    precise: bool

    def __call__(self, number: int, body: Callable[[], None], tell: Callable[[Any], None]) -> None:
        if number:
            body()
            return
        session = _ProbeSession(lambda: None, self.precise)
        try:
            with armed(session):
                body()
                session.flush()
        except _Stopped as stopped:
            error = stopped.error
            if isinstance(error, ScriptFailedError):
                raise error.cause from None
            tell((stopped.probe, error))


class _Stopped(BaseException):
    """Stops the script at its first step; a BaseException, so that no ``except Exception`` of the
    script's swallows it.
    """

    def __init__(
        self, probe: Probe | None, error: EvengradError | ScriptFailedError | None
    ) -> None:
        super().__init__("evengrad stopped the script at its first training step")
        self.probe = probe
        self.error = error

    def result(self) -> Probe:
        if self.error is not None:
            raise self.error
        assert self.probe is not None
        return self.probe


class _ProbeSession:
    """One run of a script: arms the adapter of each framework that the script imports."""

    def __init__(self, starting: Callable[[], None], precise: bool) -> None:
        self._starting = starting
        self.precise = precise
        self.armed: dict[str, Armed] = {}
        self.open = True
        self.result: _Stopped | None = None
        self.processes: Processes | None = None

    @property
    def has_result(self) -> bool:
        """Whether it was measured, here or in a process that the script started."""
        return self.result is not None or bool(self.processes and self.processes.found)

    def starting(self) -> None:
        self._starting()

    def deliver(self, probe: Probe) -> NoReturn:
        self._stop(_Stopped(probe, None))

    def fail(self, error: EvengradError) -> NoReturn:
        self._stop(_Stopped(None, error))

    def failed(self, error: Exception) -> NoReturn:
        trace = failure.inside(error.__traceback__, execute)
        self._stop(_Stopped(None, ScriptFailedError(error.with_traceback(trace))))

    def trouble(self, error: Exception) -> NoReturn:
        self.fail(failure.internal(_DOING, error))

    def _stop(self, stopped: _Stopped) -> NoReturn:
        """Raise, and raise again should the script go on to train after a bare ``except:``."""
        self.result = self.result or stopped
        raise self.result

    def arm(self, framework: str) -> None:
        if self.open and framework not in self.armed:
            try:
                adapter = importlib.import_module(f"evengrad.adapters.{framework}.script")
                self.armed[framework] = adapter.arm(self)
            except Exception as error:
                self.trouble(error)

    def flush(self) -> None:
        for adapter in list(self.armed.values()):
            try:
                adapter.flush()
            except Exception as error:
                self.trouble(error)

    def close(self) -> None:
        self.open = False
        for adapter in self.armed.values():
            adapter.disarm()
        self.armed.clear()
