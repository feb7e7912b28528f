"""Trackio: a run in the project of TRACKIO_PROJECT, "evengrad" by default."""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evengrad.recording.trackers.sink import FindingText

PACKAGE = "trackio"


def start(folder: Path | None, name: str, config: dict[str, Any]) -> TrackioSink:
    """A run of its own; the script's stays the current one."""
    import trackio

    def init() -> Any:
        return trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", "evengrad"),
            name=name if folder is None else folder.name,
            config={key: str(value) for key, value in config.items()},
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    with contextlib.redirect_stdout(sys.stderr):
        return TrackioSink(contextvars.copy_context().run(init))


class TrackioSink:
    """Metrics by step, events and findings as alerts."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """See Sink."""
        self._run.log(dict(values), step=step)

    def event(self, step: int, kind: str, text: str) -> None:
        """See Sink."""
        self._alert(kind, text, "warn", step)

    def close(self, findings: Sequence[FindingText], status: str) -> None:
        """See Sink."""
        self._alert("ended", f"{status}, {len(findings)} findings", "info", None)
        for finding in findings:
            level = finding.severity if finding.severity in ("error", "info") else "warn"
            self._alert(f"{finding.code} {finding.title}", finding.text, level, None)
        with contextlib.redirect_stdout(sys.stderr):
            self._run.finish()

    def _alert(self, title: str, text: str, level: str, step: int | None) -> None:
        from trackio import AlertLevel

        with contextlib.redirect_stdout(sys.stderr):
            self._run.alert(title=title, text=text, level=AlertLevel(level), step=step)
