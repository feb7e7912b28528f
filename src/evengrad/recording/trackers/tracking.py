"""Hands a run on to a tracker, and its findings at the end."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evengrad.recording.reader import load
from evengrad.recording.trackers.sink import FindingText, Sink
from evengrad.values.run import (
    LAYER_FIGURES,
    TENSOR_FIGURES,
    Detail,
    Event,
    EventKind,
    RunStatus,
    Step,
    Subject,
)

_COLUMN = {name: place for place, name in enumerate(TENSOR_FIGURES)}
_SILENT = (EventKind.FACT, EventKind.NOTE)

Start = Callable[[Path | None, str, dict[str, Any]], Sink]


class Tracking:
    """A listener of one run (RunListener).

    Args:
        start: begins a run at the tracker.
        name: of the run.
        folder: of the run file; None where none is written.
        held: whether ``finish`` is called by somebody else.
    """

    def __init__(self, start: Start, name: str, folder: Path | None, held: bool = False) -> None:
        self._start = start
        self._name = name
        self._folder = folder
        self._path: Path | None = None
        self._sink: Sink | None = None
        self._subject: Subject | None = None
        self._status: RunStatus | None = None
        self._held = held

    def begin(self, subject: Subject, path: Path | None) -> None:
        """See RunListener."""
        self._subject, self._path = subject, path
        config = asdict(subject) | {"run": None if path is None else str(path.parent)}
        del config["tensors"]
        self._sink = self._start(self._folder, self._name, config)

    def step(self, step: Step) -> None:
        """See RunListener."""
        figures = {
            "loss": step.loss,
            "learning_rate": step.rate,
            "gradient/norm": step.norm,
            "gradient/norm_clipped": step.clipped,
            "gradient/not_finite": float(step.non_finite),
        }
        if math.isnan(step.rate):
            del figures["learning_rate"]
        self._figures(step.step, figures)

    def detail(self, detail: Detail) -> None:
        """See RunListener."""
        assert self._subject is not None
        figures: dict[str, float] = {}
        for tensor, row in zip(self._subject.tensors, detail.tensors.tolist(), strict=True):
            weight, update = row[_COLUMN["weight_rms"]], row[_COLUMN["update_rms"]]
            norm = row[_COLUMN["gradient_rms"]] * math.sqrt(math.prod(tensor.shape))
            figures[f"gradient_norm/{tensor.name}"] = norm
            figures[f"weight_rms/{tensor.name}"] = weight
            if weight and not math.isnan(update):
                figures[f"update_ratio/{tensor.name}"] = update / weight
        for layer, row in zip(detail.layer_names, detail.layers.tolist(), strict=True):
            for column, value in zip(LAYER_FIGURES, row, strict=True):
                if not math.isnan(value):
                    figures[f"{column}/{layer}"] = value
        self._figures(detail.step, figures)

    def event(self, event: Event) -> None:
        """See RunListener."""
        if self._sink is not None and event.kind not in _SILENT:
            self._sink.event(event.step, str(event.kind), event.message)

    def end(self, status: RunStatus) -> None:
        """See RunListener."""
        self._status = status
        if not self._held:
            self.finish(None)

    def finish(self, findings: Sequence[Any] | None) -> None:
        """Hand on the findings, and end the run there; once. findings: None for those of the run file."""
        sink, self._sink = self._sink, None
        if sink is None:
            return
        if findings is None:
            findings = [] if self._path is None else _judged(self._path)
        texts = [FindingText(f.code, f.severity.name.lower(), f.title, _text(f)) for f in findings]
        sink.close(texts, self._status or "failed")

    def _figures(self, step: int, values: dict[str, float]) -> None:
        if self._sink is not None:
            self._sink.figures(step, values)


def _judged(path: Path) -> Sequence[Any]:
    """By the diagnosis, a higher room, which a run that is not tracked need not load: so by its name."""
    found: Sequence[Any] = importlib.import_module("evengrad.diagnosis.diagnose").diagnose_run(
        load(path)
    )
    return found


def _text(finding: Any) -> str:
    severity = finding.severity.name.lower()
    lines = [f"{finding.code} {severity}: {finding.title}", f"cause: {finding.cause}"]
    lines += [f"seen: {line}" for line in finding.evidence]
    lines += [f"change: {line}" for line in finding.advice]
    return "\n".join(lines)
