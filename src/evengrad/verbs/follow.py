"""Processes that a script starts for its training (``torch.multiprocessing.spawn``, ``multiprocessing``): each
does what the script itself would be made to do, and the first of them says what it found.
"""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.source import is_own

_POLL = 0.1  # seconds


class Task(Protocol):
    """What becomes of a process that the script starts; pickled to it."""

    def __call__(self, number: int, body: Callable[[], None], tell: Callable[[Any], None]) -> None:
        """Run its body. number: 0 for the first that was started. tell: hands something to the script's own
        process, once.
        """


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

    def _tell(self, value: Any) -> None:
        unfinished = self.place / f"{self.number}.part"
        import cloudpickle  # type: ignore[import-untyped]  # for the functions of a spec

        unfinished.write_bytes(cloudpickle.dumps(value))
        unfinished.rename(self.place / f"{self.number}.told")


class Processes:
    """Those that a script has started. found: what came back from them, once the script is over."""

    def __init__(self, task: Task, place: Path) -> None:
        self._task = task
        self._place = place
        self.started = 0
        self.found: list[Any] = []

    def told(self) -> list[Any]:
        """What came back from them so far, in the order in which they were started."""
        paths = sorted(self._place.glob("*.told"), key=lambda path: int(path.stem))
        return [pickle.loads(path.read_bytes()) for path in paths]

    def wrap(self, target: Any, args: Any) -> Any:
        """The target of a new process: with the task, where it is a part of the training."""
        if not _trains(target, args):
            return target
        self.started += 1
        return Followed(target, self._task, self.started - 1, self._place)


_open: list[Callable[[], None]] = []
"""What closes the sessions that are armed in this process."""


@contextmanager
def following(task: Task, close: Callable[[], None], *, until_told: bool) -> Iterator[Processes]:
    """While it lasts, what the script starts does the task.

    Args:
        task: what they do.
        close: disarms the session of this process, in a forked one.
        until_told: end all of them once the first has told something.
    """
    patches = Patches()
    with tempfile.TemporaryDirectory(prefix="evengrad-") as place:
        processes = Processes(task, Path(place))
        patches.wrap(BaseProcess, "__init__", lambda original: _init(original, processes))
        over = threading.Event()
        if until_told:
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
        original(process, group, processes.wrap(target, args), name, args, *a, **k)

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
