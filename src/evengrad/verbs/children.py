"""Processes of our own that run the user's script once more: they end with the one that began them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


def run_child(
    module: str,
    arguments: Sequence[str],
    *,
    folder: str,
    environment: Mapping[str, str],
    limit: float | None,
) -> None:
    """Run a module of evengrad's in a new process, silently, and wait for its end.

    Whatever ends the wait (the limit, Ctrl-C), the process and all that it has begun are killed.

    Args:
        module: its dotted name; its ``main`` calls ``end_with_parent``.
        arguments: of the command line.
        folder: the working folder.
        environment: the variables; our own package is put on its path.
        limit: seconds; None for none.
    """
    ours = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([ours, *filter(None, [environment.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={**environment, "PYTHONPATH": path},
        start_new_session=True,
    )
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(limit)
    finally:
        if hasattr(os, "killpg"):  # also what it has begun, such as loaders' workers
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def end_with_parent() -> None:
    """Ends this process when the one that began it is gone: its end of our standard input is closed then. The
    script gets an empty standard input.
    """
    mine = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def wait() -> None:
        while os.read(mine, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
