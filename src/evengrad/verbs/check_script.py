"""Run the user's own script, unchanged, and probe each of its trainings at its first step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn

from evengrad.errors import EvengradError, ScriptError
from evengrad.recording import failure
from evengrad.values import wording
from evengrad.values.fact import Fact, Where
from evengrad.values.message import msg
from evengrad.values.probe import Probe, Turn
from evengrad.verbs.arms import Arms
from evengrad.verbs.follow import Processes, following
from evengrad.verbs.host import armed, as_main, execute, expect, missing_extra, own_frames
from evengrad.verbs.launch import typed

_DOING = "measuring this script"
PATIENCE = 15.0
"""Seconds that a script may train for its later trainings."""


class ScriptFailedError(Exception):
    """The script raised before it trained. cause: its exception, with its own frames only."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause.with_traceback(own_frames(cause.__traceback__))

    @property
    def missing(self) -> str | None:
        """The evengrad extra that would install the framework that the script misses."""
        return missing_extra(self.cause)


class ScriptExitedError(Exception):
    """The script called sys.exit before it trained. code: what it passed."""

    def __init__(self, code: object) -> None:
        super().__init__(f"exit {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Trainings:
    """The trainings of a script that were measured.

    Attributes:
        probes: of each, in the script's order.
        ahead: the line that may begin another one, which was not waited for; None where there is none.
        seconds: how long the script trained between the first one and its end.
        trouble: why a later one could not be measured; empty where each could.
    """

    probes: tuple[Probe, ...]
    ahead: Where | None = None
    seconds: float = 0.0
    trouble: str = ""


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
    """Run a script and probe its first step; nothing is trained. See ``probe_trainings``."""
    found = probe_trainings(
        target,
        arguments,
        module=module,
        precise=precise,
        starting=starting,
        function=function,
        source=source,
        patience=0.0,
    )
    return found.probes[0]


def probe_trainings(
    target: str,
    arguments: Sequence[str] = (),
    *,
    module: bool = False,
    precise: bool = False,
    starting: Callable[[], None] = lambda: None,
    function: str | None = None,
    source: str | None = None,
    fit: int | None = None,
    patience: float = PATIENCE,
) -> Trainings:
    """Run a script and probe the first step of each of its trainings.

    The script sees what it would see under plain Python: ``__name__ == "__main__"``, its own
    ``sys.argv`` and ``sys.path[0]``, the same working folder. Where its source has no second training, it is
    stopped at the first step, and nothing is trained. Else it goes on, and trains. Its ``finally`` blocks run.

    Args:
        target: the script's path, or with ``module`` a dotted name.
        arguments: its ``sys.argv[1:]``.
        module: whether the target is a module.
        precise: the largest stable learning rate from the Hessian.
        starting: called when measuring begins.
        function: see ``execute``.
        source: run instead of the script's own, under its name.
        fit: measure this training alone, from 1, however long it takes to come to it.
        patience: seconds that the script may train for later trainings; 0 for the first one alone.

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
    target, arguments, module = typed(target, arguments, module)
    session = _ProbeSession(starting, precise, fit, patience)
    task = _CheckTask(precise)
    try:
        with (
            as_main(target, arguments, module),
            armed(session),
            following(task, session.close) as session.processes,
        ):
            expect(target, module)
            execute(target, module, source, function)
            session.flush()
    except _Stopped:
        return session.trainings()
    except ScriptError:
        raise
    except SystemExit as exit_:
        if not session.has_result:
            raise ScriptExitedError(exit_.code) from None
    except KeyboardInterrupt:
        if not session.kept:
            raise
    except Exception as error:
        if not session.has_result:
            if failure.is_own(error):
                raise failure.internal(_DOING, error) from error
            raise ScriptFailedError(error) from None
        if (
            session.result is None
        ):  # else what was called back has stopped the script, by its framework's error
            session.raised = error
    if session.has_result:
        return session.trainings()
    if fit is not None and session.begun:
        trainings = wording.count(session.begun, "training")
        raise ScriptError(
            msg(
                "Expected --fit 1 to {begun}: {target} has {trainings}.",
                begun=session.begun,
                target=target,
                trainings=trainings,
            )
        )
    raise ScriptError(
        msg(
            "{target} ran to its end without a training step that evengrad can see. Expected Keras "
            "`model.fit(...)`, `loss.backward()` and `optimizer.step()` in PyTorch, or the update of an optax "
            "optimizer. For another kind of loop call `evengrad.check(model, loss=..., batch=(x, y))` in the "
            "script.",
            target=target,
        )
    )


@dataclass(frozen=True)
class _CheckTask:
    """The first process that a script starts is probed as the script would be; the others go their way."""

    precise: bool
    until_told: ClassVar[bool] = True

    def of(self, _script: str, /) -> _CheckTask:
        """See Task."""
        return self

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
    """Stops the script where enough was seen of it; a BaseException, so that no ``except Exception`` of the
    script's swallows it.
    """

    def __init__(
        self,
        probe: Probe | None,
        error: EvengradError | ScriptFailedError | None,
        *,
        cut: bool = False,
    ) -> None:
        super().__init__("evengrad stopped the script at the first step of a training")
        self.probe = probe
        self.error = error
        self.cut = cut

    def result(self) -> Probe:
        if self.error is not None:
            raise self.error
        assert self.probe is not None
        return self.probe


class _ProbeSession(Arms):
    """One run of a script.

    Attributes:
        precise: see ``adapters.common.sessions.Session``.
        several: see there.
        kept: the trainings that were measured before the script went on.
        begun: how many have begun.
        raised: what the script did after that.
    """

    def __init__(
        self,
        starting: Callable[[], None],
        precise: bool,
        fit: int | None = None,
        patience: float = 0.0,
    ) -> None:
        super().__init__("script")
        self._starting = starting
        self.precise = precise
        self.several = fit is not None or patience > 0
        self.result: _Stopped | None = None
        self.processes: Processes | None = None
        self.kept: list[Probe] = []
        self.raised: Exception | None = None
        self.begun = 0
        self._fit, self._patience = fit, patience
        self._ahead: Where | None = None
        self._since = 0.0

    @property
    def has_result(self) -> bool:
        """Whether it was measured, here or in a process that the script started."""
        told = bool(self.processes and self.processes.found)
        return self.result is not None or bool(self.kept) or told

    def trainings(self) -> Trainings:
        """What was measured; raises what kept the first one from it."""
        if self.result is None and not self.kept and self.processes is not None:
            return Trainings((_Stopped(*self.processes.found[0]).result(),))
        cut = self.result is not None and self.result.cut
        trouble = f"{type(self.raised).__name__}: {self.raised}" if self.raised else ""
        if self.result is not None and not cut:
            if self.result.error is None or not self.kept:
                self.kept.append(self._numbered(self.result.result()))
            else:
                trouble = str(self.result.error)
        spent = time.monotonic() - self._since if self._since else 0.0
        return Trainings(tuple(self.kept), self._ahead if cut else None, spent, trouble)

    @property
    def measured(self) -> bool:
        return bool(self.kept)

    def starting(self) -> None:
        self._starting()

    def wanted(self) -> bool:
        self.begun += 1
        return self._fit is None or self.begun == self._fit

    def deliver(self, probe: Probe) -> NoReturn:
        self._stop(_Stopped(probe, None))

    def keep(self, probe: Probe, ahead: Where | None) -> int:
        if self._fit is not None:
            self.deliver(probe)
        if not self.kept:
            self._since = time.monotonic()
        self._ahead = ahead
        self.kept.append(self._numbered(probe))
        return len(self.kept) - 1

    def add(self, place: int, facts: Sequence[Fact]) -> None:
        probe = self.kept[place]
        known = {(fact.kind, fact.where) for one in self.kept for fact in one.facts}
        new = [fact for fact in facts if (fact.kind, fact.where) not in known]
        self.kept[place] = replace(probe, facts=(*probe.facts, *new))

    def enough(self) -> NoReturn:
        self._ahead = None
        self._stop(_Stopped(None, None, cut=True))

    def passing(self) -> None:
        if self._fit is None and self.kept and time.monotonic() - self._since > self._patience:
            self._stop(_Stopped(None, None, cut=True))

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

    def _numbered(self, probe: Probe) -> Probe:
        number = self._fit or len(self.kept) + 1
        known = probe.training or Turn(number, probe.model)
        return replace(probe, training=replace(known, number=number))
