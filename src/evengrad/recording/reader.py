"""Reads a run file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np

from evengrad.errors import EvengradError
from evengrad.recording.schema import _STEP, NAME
from evengrad.values.fact import Fact
from evengrad.values.message import msg, respelled
from evengrad.values.run import (
    LAYER_FIGURES,
    TENSOR_FIGURES,
    Event,
    EventKind,
    Run,
    Subject,
    Tensor,
)


def load(path: str | Path) -> Run:
    """Read a run; also while it is being written.

    Args:
        path: of the run file, or of the folder that holds it.

    Returns:
        The run: what was watched, its steps, and what happened. ``evengrad.diagnose`` gives its findings.

    Raises:
        EvengradError: there is none, or the file is not a run.
    """
    found = Path(path)
    found = found / NAME if found.is_dir() else found
    if not found.exists():
        raise EvengradError(
            msg(
                "There is no run {path!r}. Expected a folder such as runs/20260101-120000-train, or the "
                "{NAME} in it; `evengrad runs` lists them.",
                path=str(path),
                NAME=NAME,
            )
        )
    try:
        with contextlib.closing(reading(found)) as connection:
            return _read(found, connection)
    except (sqlite3.DatabaseError, KeyError, ValueError) as error:
        raise EvengradError(
            msg("{found!r} is not a run of evengrad: {error}", found=str(found), error=error)
        ) from error


def reading(path: Path) -> sqlite3.Connection:
    """Read-only; where the folder is read-only too, without the lock that a writer would need."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0)
    try:
        connection.execute("SELECT 1 FROM about")
    except sqlite3.OperationalError:
        connection.close()
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)
    return connection


def _event(step: int, kind: str, layer: str | None, message: str, values: dict[str, Any]) -> Event:
    said = respelled(message, values)
    return Event(step, EventKind(kind), said, layer, values)


def _read(path: Path, connection: sqlite3.Connection) -> Run:
    connection.execute("BEGIN")  # one state of the file, whatever a writer does meanwhile
    about = {k: json.loads(v) for k, v in connection.execute("SELECT name, value FROM about")}
    tensors = tuple(
        Tensor(name, layer, tuple(json.loads(shape)), fan_in)
        for name, layer, shape, fan_in in connection.execute(
            "SELECT name, layer, shape, fan_in FROM tensors ORDER BY tensor"
        )
    )
    events = tuple(
        _event(step, kind, layer, message, json.loads(values))
        for step, kind, layer, message, values in connection.execute(
            'SELECT step, kind, layer, message, "values" FROM events ORDER BY event'
        )
    )
    layers = tuple(row[0] for row in connection.execute("SELECT name FROM layers ORDER BY layer"))
    return Run(
        path=path,
        subject=Subject(
            script=about["script"],
            model=about["model"],
            optimizer=about["optimizer"],
            frontend=about["frontend"],
            backend=about["backend"],
            versions=tuple(about["versions"]),
            tensors=tensors,
            settings=about["settings"],
        ),
        status=about["status"],
        started=about["started"],
        layers=layers,
        steps=_columns(connection, "steps", _STEP),
        details=_columns(connection, "details", ("step", "tensor", *TENSOR_FIGURES)),
        samples=_columns(connection, "samples", ("step", "layer", *LAYER_FIGURES)),
        recent=_columns(connection, "recent", ("step", "tensor", "gradient_rms")),
        events=tuple(event for event in events if event.kind is not EventKind.FACT),
        facts=tuple(Fact.from_values(e.values) for e in events if e.kind is EventKind.FACT),
        seen=about.get("seen", {}),
    )


_WHOLE = {"step", "tensor", "layer", "non_finite", "applied"}


def _columns(connection: sqlite3.Connection, table: str, names: tuple[str, ...]) -> dict[str, Any]:
    order = ", ".join(names[:2])
    rows = connection.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY {order}").fetchall()
    values = np.array(rows, dtype=np.float64).reshape(-1, len(names))
    return {
        name: values[:, i].astype(np.int64) if name in _WHOLE else values[:, i]
        for i, name in enumerate(names)
    }
