"""Weights & Biases: a run of its own in the project of WANDB_PROJECT, "evengrad" by default."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evengrad.recording.trackers.sink import FindingText

PACKAGE = "wandb"


def start(folder: Path | None, name: str, config: dict[str, Any]) -> WandbSink:
    """A run beside that of the script's, if it has one."""
    import wandb

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "evengrad"),
        name=name,
        dir=None if folder is None else str(folder),
        config=config,
        reinit="create_new",
    )
    run.define_metric("evengrad/step")
    run.define_metric("*", step_metric="evengrad/step")
    return WandbSink(run)


class WandbSink:
    """Metrics by step, findings as a table and in the summary."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self._events: list[list[Any]] = []

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """See Sink."""
        self._run.log({**values, "evengrad/step": step})

    def event(self, step: int, kind: str, text: str) -> None:
        """See Sink."""
        self._events.append([step, kind, text])

    def close(self, findings: Sequence[FindingText], status: str) -> None:
        """See Sink."""
        import wandb

        rows = [[f.code, f.severity, f.title, f.text] for f in findings]
        self._run.log(
            {
                "evengrad/findings": wandb.Table(["code", "severity", "title", "text"], rows),
                "evengrad/events": wandb.Table(["step", "kind", "text"], self._events),
            }
        )
        self._run.summary["evengrad/status"] = status
        self._run.summary["evengrad/found"] = [f"{f.code} {f.title}" for f in findings]
        self._run.finish(exit_code=0 if status == "finished" else 1)
