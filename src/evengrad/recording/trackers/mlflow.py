"""MLflow: a run in the experiment of MLFLOW_EXPERIMENT_NAME, "evengrad" by default; within the script's own
run, if one is active.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evengrad.recording.trackers.sink import FindingText

PACKAGE = "mlflow"
_BATCH = 500
"""Metrics that are sent together; a thousand are allowed."""
_SECONDS = 5.0
_STATUS = {"finished": "FINISHED", "interrupted": "KILLED"}


def start(_folder: Path | None, name: str, config: dict[str, Any]) -> MlflowSink:
    """A run of its own."""
    import mlflow

    client = mlflow.MlflowClient()
    active = mlflow.active_run()
    tags = {"mlflow.runName": name}
    if active is not None:
        experiment = active.info.experiment_id
        tags["mlflow.parentRunId"] = active.info.run_id
    else:
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", "evengrad")
        known = client.get_experiment_by_name(title)
        experiment = client.create_experiment(title) if known is None else known.experiment_id
    run = client.create_run(experiment, tags=tags)
    for key, value in config.items():
        client.log_param(run.info.run_id, key, str(value)[:500])
    return MlflowSink(client, run.info.run_id)


class MlflowSink:
    """Metrics in batches, findings as tags and a text."""

    def __init__(self, client: Any, run: str) -> None:
        self._client = client
        self._run = run
        self._waiting: list[Any] = []
        self._sent = time.monotonic()
        self._events: list[str] = []

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """See Sink."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        named = {re.sub(r"[^\w./ :-]", "_", name): value for name, value in values.items()}
        self._waiting += [Metric(name, value, now, step) for name, value in named.items()]
        if len(self._waiting) >= _BATCH or time.monotonic() - self._sent > _SECONDS:
            self._send()

    def event(self, step: int, kind: str, text: str) -> None:
        """See Sink."""
        self._events.append(f"step {step}, {kind}: {text}")

    def close(self, findings: Sequence[FindingText], status: str) -> None:
        """See Sink."""
        self._send()
        found = "; ".join(f"{f.code} {f.title}" for f in findings) or "nothing found"
        self._client.set_tag(self._run, "evengrad.findings", found[:5000])
        text = "\n\n".join([*(f.text for f in findings), "\n".join(self._events)])
        self._client.log_text(self._run, text, "evengrad.txt")
        self._client.set_terminated(self._run, _STATUS.get(status, "FAILED"))

    def _send(self) -> None:
        for place in range(0, len(self._waiting), _BATCH):
            self._client.log_batch(self._run, metrics=self._waiting[place : place + _BATCH])
        self._waiting, self._sent = [], time.monotonic()
