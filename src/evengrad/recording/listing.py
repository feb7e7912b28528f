"""The runs in a folder, each at a glance: read without their steps, so that many large ones list at once."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evengrad.recording.reader import reading
from evengrad.recording.schema import NAME


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in a line.

    Attributes:
        path: its folder.
        script: what was run.
        status: as in Run.
        started: seconds since 1970.
        steps: how many were written.
        loss: the last one, None where there is none.
        events: how many by kind.
        silent: seconds since the last write.
        boxes: whether it has a black box.
    """

    path: Path
    script: str
    status: str
    started: float
    steps: int
    loss: float | None
    events: Mapping[str, int]
    silent: float
    boxes: bool


def runs_in(folder: Path) -> tuple[list[RunSummary], list[Path]]:
    """The runs in the folders of this one. A folder that is a run itself counts alone.

    Args:
        folder: whatever else lies there is passed over.

    Returns:
        The runs, newest first; and the folders that hold a run file that cannot be read.
    """
    found, broken = [], []
    files = [folder / NAME] if (folder / NAME).is_file() else sorted(folder.glob(f"*/{NAME}"))
    for path in files:
        try:
            found.append(_summary(path))
        except (sqlite3.Error, OSError, KeyError, ValueError, TypeError):
            broken.append(path.parent)
    return sorted(found, key=lambda run: (run.started, str(run.path)), reverse=True), broken


def _summary(path: Path) -> RunSummary:
    with contextlib.closing(reading(path)) as connection:
        about = {k: json.loads(v) for k, v in connection.execute("SELECT name, value FROM about")}
        (steps,) = connection.execute("SELECT COUNT(*) FROM steps").fetchone()
        last = connection.execute(
            "SELECT loss FROM steps WHERE loss != 'NaN' ORDER BY step DESC LIMIT 1"
        ).fetchone()
        events = dict(connection.execute("SELECT kind, COUNT(*) FROM events GROUP BY kind"))
    return RunSummary(
        path=path.parent,
        script=str(about["script"]),
        status=str(about["status"]),
        started=float(about["started"]),
        steps=steps,
        loss=_number(last),
        events=events,
        silent=max(0.0, time.time() - _written(path)),
        boxes=any(path.parent.glob("step-*/box.json")),
    )


def _number(row: tuple[Any, ...] | None) -> float | None:
    return float(row[0]) if row is not None and isinstance(row[0], int | float) else None


def _written(path: Path) -> float:
    """When the file or its journal was written last."""
    times = [path.stat().st_mtime]
    with contextlib.suppress(OSError):
        times.append(path.with_name(f"{path.name}-wal").stat().st_mtime)
    return max(times)
