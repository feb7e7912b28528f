"""The run file: one SQLite file, appended to by a background thread, readable all the while."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

from evengrad.recording.schema import _SCHEMA, _STEP, NAME
from evengrad.values.message import spelled
from evengrad.values.run import (
    Detail,
    Event,
    Floats,
    RunStatus,
    Step,
    Subject,
)

_COMMIT = 0.5  # seconds; a process killed loses less than twice that
_FIGURES = attrgetter(*_STEP)
_KEPT = 4096  # observed steps; 300 tensors of it take about 100 MB


class Writer:
    """Appends to a new run file from a thread of its own; every method returns at once.

    on_error: called once, with one line, when the file cannot be written any more, whatever the reason (a full
    disk, say): ``failed`` is then true, all that waits and comes later is dropped, and the training goes on.
    """

    def __init__(self, folder: Path, subject: Subject, on_error: Callable[[str], None]) -> None:
        self.path = folder / NAME
        self._on_error = on_error
        self._given: deque[Callable[[sqlite3.Connection], None] | None] = deque()
        self._wake = threading.Event()
        self._flushes: list[threading.Event] = []
        self._layers: tuple[str, ...] = ()
        self._observed = 0
        self._stride = 1
        self.failed = False
        with contextlib.closing(_connect(self.path)) as connection, connection:
            connection.executescript(_SCHEMA)
            _describe(connection, subject)
        self._thread = threading.Thread(target=self._work, name="evengrad-run", daemon=True)
        self._thread.start()

    def step(self, step: Step) -> None:
        """Append a step."""
        self._put(lambda c: _insert(c, "steps", [tuple(map(_plain, _FIGURES(step)))]))

    def detail(self, detail: Detail) -> None:
        """Append an observed step; old ones are thinned beyond 4,096 of them."""
        if self._observed % self._stride == 0:
            self._put(lambda c: self._detail(c, detail))
        self._observed += 1
        if self._observed // self._stride > _KEPT:
            self._stride *= 2
            self._put(_thin)

    def recent(self, rows: Sequence[tuple[int, Floats]]) -> None:
        """Append (step, gradient rms by tensor) of the last steps."""
        taken = [(step, values.copy()) for step, values in rows]
        self._put(
            lambda c: _insert(
                c,
                "recent",
                [(s, i, _plain(v)) for s, values in taken for i, v in enumerate(values)],
            )
        )

    def event(self, event: Event) -> None:
        """Append an event."""
        self._put(lambda c: _insert_event(c, event))

    def about(self, name: str, value: Any) -> None:
        """Set a fact of the run, such as its status."""
        row = (name, _json(value))
        self._put(lambda c: c.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", row))

    def flush(self, timeout: float = 10.0) -> None:
        """Wait until all that was given is in the file; not at all once that has failed.

        Args:
            timeout: the longest wait, in seconds.
        """
        done = threading.Event()
        self._flushes.append(done)

        def tell(connection: sqlite3.Connection) -> None:
            connection.commit()
            done.set()

        self._put(tell)
        self._wake.set()
        if not self.failed:
            done.wait(timeout)
        self._flushes.remove(done)

    def close(self, status: RunStatus) -> None:
        """Write the status and what is left, and end the thread."""
        self.about("status", status)
        self._given.append(None)
        self._wake.set()
        self._thread.join(timeout=30.0)

    def _put(self, work: Callable[[sqlite3.Connection], Any]) -> None:
        if not self.failed:
            self._given.append(work)

    def _work(self) -> None:
        try:
            with contextlib.closing(_connect(self.path)) as connection:
                self._append(connection)
        except Exception as error:
            self.failed = True
            self._given.clear()
            for flush in list(self._flushes):
                flush.set()
            self._on_error(
                f"the run file {self.path} cannot be written any more ({type(error).__name__}: {error}); the "
                "training goes on without it."
            )

    def _append(self, connection: sqlite3.Connection) -> None:
        """All that was given, then a pause: to be woken at each step would cost the training more."""
        while True:
            self._wake.wait(_COMMIT)
            self._wake.clear()
            while self._given:
                work = self._given.popleft()
                if work is None:
                    connection.commit()
                    return
                work(connection)
            connection.commit()

    def _detail(self, connection: sqlite3.Connection, detail: Detail) -> None:
        new = [name for name in detail.layer_names if name not in self._layers]
        if new:
            start = len(self._layers)
            self._layers += tuple(new)
            _insert(connection, "layers", [(start + i, name) for i, name in enumerate(new)])
        at = [self._layers.index(name) for name in detail.layer_names]
        _insert(
            connection, "details", _rows(detail.step, range(len(detail.tensors)), detail.tensors)
        )
        _insert(connection, "samples", _rows(detail.step, at, detail.layers))


def append_event(path: Path, event: Event) -> None:
    """Append an event to a run file that is complete. Raises sqlite3.Error where it cannot be written."""
    with contextlib.closing(_connect(path)) as connection, connection:
        _insert_event(connection, event)


def set_status(path: Path, status: RunStatus) -> None:
    """Say of a run whose process is gone how it ended. Raises sqlite3.Error where it cannot be written."""
    with contextlib.closing(_connect(path)) as connection, connection:
        _insert(connection, "about", [("status", _json(status))])


def last_step(path: Path) -> int:
    """Of a run file; 0 where it has none."""
    with contextlib.closing(_connect(path)) as connection:
        found = connection.execute("SELECT max(step) FROM steps").fetchone()[0]
    return int(found or 0)


def _insert_event(connection: sqlite3.Connection, event: Event) -> None:
    row = (
        event.step,
        event.kind,
        event.layer,
        event.message,
        _json(dict(event.values) | spelled(event.message)),
    )
    connection.execute(
        'INSERT INTO events (step, kind, layer, message, "values") VALUES (?, ?, ?, ?, ?)', row
    )


def _rows(step: int, indices: Sequence[int], values: Floats) -> list[tuple[Any, ...]]:
    return [(step, i, *map(_plain, row)) for i, row in zip(indices, values.tolist(), strict=True)]


def _thin(connection: sqlite3.Connection) -> None:
    """Drop every other observed step."""
    steps = [
        row[0] for row in connection.execute("SELECT DISTINCT step FROM details ORDER BY step")
    ]
    dropped = [(step,) for step in steps[1::2]]
    for table in ("details", "samples"):
        connection.executemany(f"DELETE FROM {table} WHERE step = ?", dropped)


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)


def _plain(value: Any) -> Any:
    """SQLite has no NaN (it stores NULL), but keeps inf; NaN is written as text so that it stays."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return int(value) if isinstance(value, bool) else value


def _json(value: Any) -> str:
    return json.dumps(value, default=str)


def _describe(connection: sqlite3.Connection, subject: Subject) -> None:
    about = {
        "schema": 1,
        "status": "running",
        "started": time.time(),
        **{k: v for k, v in asdict(subject).items() if k != "tensors"},
    }
    _insert(connection, "about", [(name, _json(value)) for name, value in about.items()])
    rows = [(i, t.name, t.layer, _json(t.shape), t.fan_in) for i, t in enumerate(subject.tensors)]
    _insert(connection, "tensors", rows)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10.0)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection
