"""A process that has imported what a script's trials import, and nothing else: each trial is a fork of it.

Most of a short trial's time is the import of its framework. The first trial starts anew and notes what it has
imported, and what the script had put into the environment by then (KERAS_BACKEND, say): with that the others
begin where it stood. No framework here starts a thread when it is imported, and none has computed anything; one
that has started threads, or that cannot be forked (JAX), is not used.

The server is ``python -m evengrad.fixing.warm``; its standard input is a socket that brings one call a trial.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLAS = ("numpy", "scipy", "sklearn")
"""Have threads of their own, which sleep, and know of forks."""
_FRAMEWORKS = ("torch", "tensorflow", "keras")
_NEVER = ("torch_xla",)
_WORKER = "evengrad.fixing.worker"
_LARGEST = 1 << 20  # bytes of a call: the environment, and a folder


@dataclass(frozen=True)
class Imported:
    """What a trial has imported.

    Attributes:
        modules: their names, of those that are worth it.
        environment: what was other when the first framework was imported than when the process began; None
            for what was not there any more.
    """

    modules: tuple[str, ...]
    environment: Mapping[str, str | None] = field(default_factory=dict)


class ImportNotes:
    """In a trial's process: what is imported, and what the environment was when the first framework was."""

    def __init__(self) -> None:
        self._began = dict(os.environ)
        self._then: dict[str, str] | None = None
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, *_: object) -> None:
        """As a finder that finds nothing: told of each import before it is made."""
        if self._then is None and name in _FRAMEWORKS:
            self._then = dict(os.environ)

    def found(self) -> Imported:
        """At the end; nothing of a script whose process cannot be forked."""
        known = tuple(name for name in sys.modules if _package(name) in (*_BLAS, *_FRAMEWORKS))
        if self._then is None or any(name in sys.modules for name in _NEVER) or _on_jax():
            return Imported(())
        return Imported(known, _changed(self._began, self._then))


def _on_jax() -> bool:
    """Whether Keras computes with JAX; it imports JAX whatever it computes with."""
    with contextlib.suppress(Exception):
        return bool(sys.modules["keras"].backend.backend() == "jax")
    return False


def _package(name: str) -> str:
    return name.partition(".")[0]


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    names = {name for name in (*before, *after) if before.get(name) != after.get(name)}
    return {name: after.get(name) for name in sorted(names)}


def _put(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


class WarmServer:
    """One server, started when it is made. Thread-safe.

    Args:
        imported: a file of what it is to have imported.
        environment: of the trials' processes.
    """

    def __init__(self, imported: Path, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket, self._lock = ours, threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(imported)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(environment),
                start_new_session=True,
            )

    def start(self, folder: Path, where: str, environment: Mapping[str, str]) -> WarmTrial | None:
        """A trial in a fork; None where there is no server any more. It waits until the server is ready."""
        call = {"folder": str(folder), "where": where, "environment": dict(environment)}
        (told, tells), (lives, life) = os.pipe(), os.pipe()
        pid = b""
        with (folder / "output.txt").open("w") as output, self._lock, contextlib.suppress(OSError):
            given = [lives, output.fileno(), tells]
            socket.send_fds(self._socket, [json.dumps(call).encode()], given)
            os.close(tells)  # else what the server has of it would not be the last of it
            tells = -1
            pid = os.read(told, 16).strip()
        for end in (tells, lives, *(() if pid else (told, life))):
            if end >= 0:
                os.close(end)
        return WarmTrial(int(pid), told, life) if pid else None

    def close(self) -> None:
        """End it; trials that run are not ended."""
        self._socket.close()
        self._process.terminate()
        self._process.wait()


class WarmTrial:
    """A trial's process, in so far as ``subprocess.Popen`` is one. It ends when this process does."""

    def __init__(self, pid: int, status: int, life: int) -> None:
        self.pid, self._status, self._life = pid, status, life

    def wait(self) -> int:
        """Until it has ended; its exit status, as a signal's negative number where that ended it."""
        with os.fdopen(self._status) as told:
            text = told.read().strip()
        os.close(self._life)
        return int(text) if text else -1

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)


class _Warmth:
    """What the fix that goes on in this process knows of its trials."""

    def __init__(self) -> None:
        self.open = False
        self._lock = threading.Lock()
        self._server: WarmServer | None = None
        self._known = False

    def learn(self, folder: Path, environment: Mapping[str, str]) -> None:
        """From the first trial that was made anew."""
        with self._lock, contextlib.suppress(OSError, ValueError, TypeError):
            if self.open and not self._known:
                file = folder / "imported.json"
                found = Imported(*json.loads(file.read_text()))
                self._known = True
                if found.modules:
                    self._server = WarmServer(file, environment)

    def start(self, folder: Path, where: str, environment: Mapping[str, str]) -> WarmTrial | None:
        """A trial's process, where there is a server."""
        server = self._server
        found = None if server is None else server.start(folder, where, environment)
        if server is not None and found is None and not self.open:
            raise RuntimeError("the fix is over")  # by Ctrl-C: nothing is begun any more
        return found

    def rest(self) -> None:
        with self._lock:
            server, self._server, self._known = self._server, None, False
        if server is not None:
            server.close()


WARMTH = _Warmth()


@contextlib.contextmanager
def warmed() -> Iterator[None]:
    """While it lasts, trials of this process may be forks of one that has their framework."""
    if WARMTH.open or sys.platform != "linux" or os.environ.get("EVENGRAD_COLD"):
        yield
        return
    WARMTH.open = True
    try:
        yield
    finally:
        WARMTH.open = False
        WARMTH.rest()


def main(file: Path) -> None:
    """The server: import, then fork for each call until the other end is closed."""
    atexit.register(_leave)  # the first that is registered is the last that is called
    modules, environment = json.loads(file.read_text())
    _put(environment)
    began = dict(os.environ)
    server = socket.socket(fileno=os.dup(0))
    importlib.import_module(_WORKER)
    _load([name for name in modules if _package(name) in _BLAS])
    before = _threads()
    _load(modules)
    if _threads() > before:
        return
    made = _changed(began, os.environ)
    gc.collect()
    gc.freeze()
    while True:
        call, streams, _, _ = socket.recv_fds(server, _LARGEST, 3)
        if not call:
            return
        if os.fork() == 0:
            server.close()
            _keep(json.loads(call), streams, made)
        for stream in streams:
            os.close(stream)
        with contextlib.suppress(ChildProcessError):  # keepers that have ended
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _load(modules: Iterable[str]) -> None:
    for name in modules:
        with contextlib.suppress(Exception):  # one that another has made, and no file
            importlib.import_module(name)


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _keep(call: dict[str, Any], streams: list[int], made: Mapping[str, str | None]) -> None:
    """Fork once more, and tell that one's number and how it ends. made: what the imports have put into the
    environment.
    """
    life, output, told = streams
    child = os.fork()
    if child == 0:
        os.close(told)
        _become(call, life, output, made)
    for stream in (life, output):
        os.close(stream)
    os.write(told, f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(call: dict[str, Any], life: int, output: int, made: Mapping[str, str | None]) -> None:
    """As ``python -m evengrad.fixing.worker FOLDER`` would be."""
    for stream, number in ((life, 0), (output, 1), (output, 2)):
        os.dup2(stream, number)
    os.close(life)
    os.close(output)
    os.setsid()
    os.chdir(call["where"])
    os.environ.clear()
    os.environ.update(call["environment"])
    _put(made)
    sys.path[0] = call["where"]
    sys.argv = [_WORKER, call["folder"]]
    sys.modules.pop(_WORKER)
    _ENDED.append(1)
    runpy.run_module(_WORKER, run_name="__main__", alter_sys=True)
    _ENDED.append(0)
    sys.exit()


_ENDED: list[int] = []
"""In a trial: its exit status."""


def _leave() -> None:
    """Behind all else that is done at the end of a trial: without taking thousands of modules apart."""
    if _ENDED:
        for written in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                written.flush()
        os._exit(_ENDED[-1])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
