"""Trials in processes of their own, which end when this one does, however it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from evengrad.fixing.trial import Result, Trial, stored_result
from evengrad.fixing.warm import WARMTH, WarmTrial

_RUNNING: set[subprocess.Popen[bytes] | WarmTrial] = set()


def execute(trial: Trial, folder: Path, where: str) -> Result:
    """Perform a trial in a new process, unless its result is in the folder already. where: the working folder
    that the script expects.
    """
    known = stored_result(folder)
    if known is not None and known.end != "internal":
        return known
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trial.json").write_text(json.dumps(trial.to_json()))
    status = _perform(folder, where)
    found = stored_result(folder)
    if found is None:
        said = (folder / "output.txt").read_text(errors="replace").strip().splitlines()[-1:]
        return Result("failed", message=f"exit status {status}: {' '.join(said)}")
    return found


def _perform(folder: Path, where: str) -> int:
    ours = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([ours, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path}
    process = WARMTH.start(folder.resolve(), where, environment)
    if process is not None:
        return _waited(process)
    with (folder / "output.txt").open("w") as output:
        # Its standard input stays open as long as this process lives (worker.end_with_parent).
        anew = subprocess.Popen(
            [sys.executable, "-m", "evengrad.fixing.worker", str(folder.resolve())],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=where,
            env=environment,
            start_new_session=True,
        )
    try:
        return _waited(anew)
    finally:
        if anew.stdin is not None:
            anew.stdin.close()
        WARMTH.learn(folder, environment)


def _waited(process: subprocess.Popen[bytes] | WarmTrial) -> int:
    _RUNNING.add(process)
    try:
        return process.wait()
    finally:
        _RUNNING.discard(process)


def abandon() -> None:
    """End every trial that runs; what it has made so far does not count."""
    for process in list(_RUNNING):
        process.kill()
