"""Processes that a script starts for its training (``torch.multiprocessing.spawn``, ``multiprocessing``, and by
command lines: ``torchrun``, ``accelerate launch``, ``subprocess``): each does what the script itself would be
made to do, and the first of them says what it found.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial, wraps
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, ClassVar, Protocol

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.source import is_own
from evengrad.recording import failure
from evengrad.recording.guard import GuardStopError
from evengrad.verbs.host import own_frames
from evengrad.verbs.launch import followed, is_launcher, python_command, trains

_POLL = 0.1  # seconds
_PATIENCE = 10.0
"""Seconds that a process which was stopped waits for the first one to write what it saw: a launcher ends all of
them as soon as one has failed.
"""
_STOPPED = 3
_TASK = "task"
_FIRST_DONE = "first.done"


class Task(Protocol):
    """What becomes of a process that the script starts; pickled to it."""

    until_told: ClassVar[bool]
    """Whether all of them end once the first has told something."""

    def __call__(self, number: int, body: Callable[[], None], tell: Callable[..., None]) -> None:
        """Run its body. number: 0 for the first that was started. tell: hands something to the script's own
        process; with ``last=False`` for the case that it never comes to its end.
        """

    def of(self, script: str, /) -> Task:
        """The same for another script, which was started by a command line."""


@dataclass(frozen=True)
class Followed:
    """The target of a process, with the task around it."""

    target: Callable[..., None]
    task: Task
    number: int
    place: Path

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """In the new process."""
        for inherited in _open:  # forked: what the script's own process has armed
            inherited()
        _open.clear()
        self.task(self.number, lambda: self.target(*args, **kwargs), self._tell)

    def _tell(self, value: Any, *, last: bool = True) -> None:
        _write(self.place, f"{self.number:020d}", self.number, value, last=last)


def _write(place: Path, name: str, rank: int, value: Any, *, last: bool = True) -> None:
    """Hand something to the script's own process. last: there is no more to come."""
    import cloudpickle  # type: ignore[import-untyped]  # for the functions of a spec

    unfinished = place / f"{name}.part"
    unfinished.write_bytes(cloudpickle.dumps(value))
    unfinished.rename(place / f"{name}.told")
    if rank == 0 and last:
        (place / _FIRST_DONE).touch()


class Processes:
    """Those that a script has started. found: what came back from them, once the script is over."""

    def __init__(self, task: Task, place: Path) -> None:
        self._task = task
        self._place = place
        self.started = 0
        self.found: list[Any] = []
        self._children: list[tuple[int, Any]] = []
        self._signals: dict[int, int] = {}

    def told(self) -> list[Any]:
        """What came back from them so far, in the order in which they were started."""
        return [pickle.loads(path.read_bytes()) for path in sorted(self._place.rglob("*.told"))]

    def add(self, rank: int, process: Any) -> None:
        """One that was started, of the training's own."""
        self._children.append((rank, process))

    def killed(self) -> dict[int, int]:
        """Ranks of those that a signal ended, with its number; not of such as their launcher ended then."""
        for path in self._place.rglob("*.killed"):
            self._killed(int(path.stem), int(path.read_text()))
        for rank, process in self._children:
            code = process.exitcode if hasattr(process, "exitcode") else process.poll()
            if code is not None and code < 0 and -code != signal.SIGTERM:
                self._killed(rank, -code)
        return self._signals

    def _killed(self, rank: int, number: int) -> None:
        self._signals[rank] = number
        (self._place / f"{rank}.killed").write_text(str(number))

    def wrap(self, target: Any, args: Any) -> Any:
        """The target of a new process: with the task, where it is a part of the training."""
        if not _trains(target, args):
            return target
        self.started += 1
        return Followed(target, self._task, self.started - 1, self._place)

    def launch(self, line: Any, folder: Any, environment: Any) -> Any:
        """The command line of a new process: with the task, where that is a part of the training."""
        words = list(line) if isinstance(line, list | tuple) else []
        command = python_command(words)
        if command is None or not trains(command, None if folder is None else os.fspath(folder)):
            return line
        if not (self._place / _TASK).exists():
            (self._place / _TASK).write_bytes(pickle.dumps(self._task))
        self.started += 1
        return followed(command, self._place, f"{time.time_ns():020d}", _rank(environment))


def _rank(environment: Any) -> int:
    rank = (os.environ if environment is None else environment).get("RANK", "")
    return int(rank) if rank.isdigit() else 0


_open: list[Callable[[], None]] = []
"""What closes the sessions that are armed in this process."""


@contextmanager
def following(
    task: Task, close: Callable[[], None], inside: Path | None = None
) -> Iterator[Processes]:
    """While it lasts, what the script starts does the task.

    Args:
        task: what they do.
        close: disarms the session of this process, in a forked one.
        inside: the place of the process that started this one.
    """
    patches = Patches()
    with _place(inside) as place:
        processes = Processes(task, place)
        patches.wrap(BaseProcess, "__init__", lambda original: _init(original, processes))
        patches.wrap(subprocess.Popen, "__init__", lambda original: _popen(original, processes))
        over = threading.Event()
        if task.until_told:
            threading.Thread(target=_end, args=(processes, over), daemon=True).start()
        _open.append(close)
        try:
            yield processes
        finally:
            over.set()
            with suppress(ValueError):
                _open.remove(close)
            patches.undo()
            processes.found = processes.told()
            processes.killed()


@contextmanager
def _place(inside: Path | None) -> Iterator[Path]:
    """Where the processes put what they tell."""
    if inside is not None:
        own = inside / f"{time.time_ns():020d}-{os.getpid()}"
        own.mkdir()
        yield own
        return
    with tempfile.TemporaryDirectory(prefix="evengrad-", ignore_cleanup_errors=True) as place:
        yield Path(place)


def launched(place: Path, name: str, rank: int, script: str, body: Callable[[], None]) -> None:
    """In a process that was started by a command line: its script, with the task around it.

    Args:
        place: where the task is, and what is told goes.
        name: of what it tells.
        rank: of the process in its training.
        script: what it runs.
        body: runs it.
    """
    run: Callable[[], None] = body
    task = _task(place)
    if task is not None:
        if task.until_told:
            threading.Thread(target=_leave_once_told, args=(place,), daemon=True).start()
        run = _with(task, place, name, rank, script, body)
    try:
        run()
    except GuardStopError as error:
        sys.stderr.write(f"evengrad: rank {rank}: {str(error).splitlines()[0]}\n")
        _wait_for_the_first(place, rank)
        sys.exit(_STOPPED)
    except Exception as error:
        own = own_frames(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(own), own)
        sys.exit(1)


def _task(place: Path) -> Task | None:
    """None, and the process goes its way, where it cannot be read."""
    try:
        task: Task = pickle.loads((place / _TASK).read_bytes())
    except Exception as error:
        failure.tell(error)
        return None
    return task


def _with(
    task: Task, place: Path, name: str, rank: int, script: str, body: Callable[[], None]
) -> Callable[[], None]:
    def run() -> None:
        with following(task, lambda: None, inside=place):
            if is_launcher(script):
                body()
            else:
                task.of(script)(rank, body, partial(_write, place, name, rank))

    return run


def _leave_once_told(place: Path) -> None:
    while not any(place.rglob("*.told")):
        time.sleep(_POLL)
    os._exit(0)


def _wait_for_the_first(place: Path, rank: int) -> None:
    until = time.monotonic() + _PATIENCE
    while rank and not (place / _FIRST_DONE).exists() and time.monotonic() < until:
        time.sleep(_POLL)


def _popen(original: Callable[..., None], processes: Processes) -> Callable[..., None]:
    @wraps(original)
    def init(process: Any, args: Any, *rest: Any, **keywords: Any) -> None:
        try:
            line = processes.launch(args, keywords.get("cwd"), keywords.get("env"))
        except Exception:  # whatever that command line is: it runs as it was given
            line = args
        original(process, line, *rest, **keywords)
        if line is not args:
            processes.add(_rank(keywords.get("env")), process)

    return init


def _init(original: Callable[..., None], processes: Processes) -> Callable[..., None]:
    @wraps(original)
    def init(
        process: Any,
        group: Any = None,
        target: Any = None,
        name: Any = None,
        args: Any = (),
        *a: Any,
        **k: Any,
    ) -> None:
        wrapped = processes.wrap(target, args)
        original(process, group, wrapped, name, args, *a, **k)
        if isinstance(wrapped, Followed):
            processes.add(wrapped.number, process)

    return init


def _trains(target: Any, args: Any) -> bool:
    """The user's own function, or one that torch's ``spawn`` was given; no worker that loads data."""
    module = str(getattr(target, "__module__", ""))
    if module.startswith("torch.multiprocessing"):
        return any(_own(argument) for argument in args)
    return _own(target)


def _own(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and is_own(code.co_filename)


def _end(processes: Processes, over: threading.Event) -> None:
    while not over.wait(_POLL):
        if processes.started and processes.told():
            for child in multiprocessing.active_children():
                child.terminate()
            return
