"""A Python that has imported its framework already: each call is a fork of one that waits.

Nearly all of a short trial's time is the import of the framework, ten seconds of Keras for one of training.
``interpreter`` gives a program to call instead of ``sys.executable``; what it runs sees its own arguments,
working folder, environment and standard streams, and ``sys.executable`` is that program, so that what it starts
is warm, too. No framework has started a thread when it is forked; one that has is refused.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

_PRELOADED = {
    "torch": ("torch", "torch._dynamo", "evengrad.adapters.torch.script"),
    "keras": ("keras", "tensorflow", "evengrad.adapters.keras.script"),
}
_ALWAYS = ("evengrad.cli", "evengrad.fixing.worker", "evengrad.fixing.patch", "sklearn.datasets")
_CLIENT = """\
#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
call = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
socket.send_fds(server, [json.dumps(call).encode() + b"\\n"], [0, 1, 2])
sys.exit(int(server.makefile().read() or 1))
"""


_STARTING = threading.Lock()


def interpreter(framework: str, backend: str = "") -> str:
    """The program, its server started. framework: "torch" or "keras"; backend: of Keras, or its default."""
    with _STARTING:  # two calls side by side want one server
        return _started(framework, backend)


@cache
def _started(framework: str, backend: str) -> str:
    if not hasattr(os, "fork") or backend == "jax":  # which starts threads when it is imported
        return sys.executable
    folder = Path(tempfile.mkdtemp(prefix="evengrad-warm-"))
    address, client = folder / "socket", folder / "python"
    client.write_text(_CLIENT.format(python=sys.executable, address=str(address)))
    client.chmod(0o755)
    more = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    more |= {"KERAS_BACKEND": backend} if backend else {}
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.fixes.warm", str(address), str(client), framework],
        env={**os.environ, **more},
        stdin=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.terminate)
    while not address.exists():
        if server.poll() is not None:
            raise RuntimeError(f"the warm {framework} did not start, status {server.returncode}")
        time.sleep(0.05)
    return str(client)


def main(address: str, client: str, framework: str) -> None:
    """Import the framework, then fork for each call."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
    for name in (*_PRELOADED[framework], *_ALWAYS):
        importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError(f"{framework} has started threads; it cannot be forked")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address + ".new")
    listener.listen(64)
    os.rename(address + ".new", address)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _keep(connection, client)
        connection.close()


def _keep(connection: socket.socket, client: str) -> None:
    """Fork once more; tell the caller the exit status, or end it when the caller is gone."""
    text, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not text.endswith(b"\n"):
        text += connection.recv(1 << 20)
    child = os.fork()
    if child == 0:
        connection.close()
        _run(json.loads(text), streams, client)
        return
    for stream in streams:
        os.close(stream)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
            os._exit(0)
        if select.select([connection], [], [], 0.02)[0]:
            os.kill(child, signal.SIGKILL)
            os._exit(1)


def _run(call: dict[str, Any], streams: Sequence[int], client: str) -> None:
    """As ``python ARGUMENTS`` would, and end this process."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.executable = client
    status = 0
    try:
        _execute(*call["arguments"])
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    # All that an interpreter does at its end but taking two thousand modules apart, which takes seconds.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _execute(first: str, *rest: str) -> None:
    if first == "-m":
        sys.path[0] = os.getcwd()
        sys.argv = list(rest)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(first))
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
