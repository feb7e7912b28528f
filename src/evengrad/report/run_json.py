"""A run as strict JSON, for machines; see ``report.json`` for numbers that are not finite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from evengrad.diagnosis.readings import by_layer, gradient_profile, layer_figure, medians, ratios
from evengrad.report.json import finding, plain
from evengrad.report.run_words import figures, outcome, unseen
from evengrad.values.finding import Finding
from evengrad.values.run import Event, Run
from evengrad.values.version import __version__

SCHEMA = 1


Judged = tuple[Run, Sequence[Finding]]


def dumps(run: Run, findings: Sequence[Finding], script: Sequence[Judged] = ()) -> str:
    """The run as JSON text, indented by two. script: see ``to_dict``."""
    shown = to_dict(run, findings, script)
    return json.dumps(shown, indent=2, allow_nan=False, ensure_ascii=False)


def to_dict(run: Run, findings: Sequence[Finding], script: Sequence[Judged] = ()) -> dict[str, Any]:
    """The run as values that JSON has. Its steps are not in it: they are in the run file. script: all trainings
    of its script, in order; "trainings" says how each ended.
    """
    subject = asdict(run.subject)
    del subject["tensors"]
    shown: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "evengrad": __version__,
            "path": str(run.path),
            "status": run.status,
            "started": run.started,
            "healthy": not findings,
            "verdict": outcome(run, findings),
            "unseen": unseen(run),
            "findings": [finding(one) for one in findings],
            "trainings": [_training(*one) for one in script],
            "seen": dict(run.seen),
            "subject": subject,
            "figures": asdict(figures(run)),
            "layers": _layers(run),
            "activations": _activations(run),
            "events": [_event(event) for event in run.events],
            "facts": [fact.to_values() for fact in run.facts],
        }
    )
    return shown


def _training(run: Run, findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "path": str(run.path),
        "model": run.subject.model,
        "optimizer": run.subject.optimizer,
        "healthy": not findings,
        "verdict": outcome(run, findings),
    }


def _layers(run: Run) -> list[dict[str, Any]]:
    names, start, now = gradient_profile(run)
    ratio = medians(by_layer(run, ratios(run)[1][-10:])[1])
    return [
        {"layer": name, "gradient_start": a, "gradient_now": b, "update_ratio": c}
        for name, a, b, c in zip(names, start.tolist(), now.tolist(), ratio.tolist(), strict=True)
    ]


def _activations(run: Run) -> list[dict[str, Any]]:
    now = {
        name: medians(layer_figure(run, name)[1][-5:]).tolist() for name in ("dead", "saturated")
    }
    return [
        {"layer": layer, **{name: values[i] for name, values in now.items()}}
        for i, layer in enumerate(run.layers)
    ]


def _event(event: Event) -> dict[str, Any]:
    return asdict(event) | {"kind": event.kind.value, "values": dict(event.values)}
