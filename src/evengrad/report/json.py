"""A check as strict JSON, for machines.

NaN and infinity, which JSON has no words for, become the strings "nan", "inf" and "-inf".
``schema`` changes when a field changes its meaning or goes; new fields may come at any time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from enum import Enum
from typing import Any

from evengrad.diagnosis.evidence import evidence
from evengrad.report import words
from evengrad.report.expected import is_forecast, outside
from evengrad.theory.stability import largest_stable, verdict
from evengrad.values.finding import Finding
from evengrad.values.probe import Operation, Probe, Weight
from evengrad.values.version import __version__
from evengrad.verbs.check import Check

SCHEMA = 1


def dumps(check: Check, script: Sequence[Check] = ()) -> str:
    """The check as JSON text, indented by two. script: each of its trainings, where there are several."""
    shown = to_dict(check)
    if len(script) > 1:
        shown["trainings"] = [to_dict(one) for one in script]
    return json.dumps(shown, indent=2, allow_nan=False, ensure_ascii=False)


def to_dict(check: Check) -> dict[str, Any]:
    """The check as values that JSON has: dict, list, str, int, float, bool and None.

    Logs are natural. ``budget.total`` is log(norm at the inputs / norm at the outputs).
    """
    measured = evidence(check.probe)
    shown: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "evengrad": __version__,
            "healthy": check.healthy,
            "verdict": words.verdict(check),
            "unseen": words.unseen(check),
            "findings": [finding(one) for one in check.findings],
            "budget": asdict(measured.budget),
            "causes": measured.shares.by_cause,
            "gradient_norm": None if check.norm is None else asdict(check.norm),
            "forecast": _forecast(check),
            "probe": _probe(check.probe),
        }
    )
    return shown


def finding(found: Finding) -> dict[str, Any]:
    """A finding as plain values."""
    return {
        "code": found.code,
        "cause": found.cause,
        "severity": found.severity.name.lower(),
        "title": found.title,
        "layers": found.layers,
        "evidence": found.evidence,
        "advice": found.advice,
        "where": None if found.where is None else asdict(found.where),
        "mistake": found.mistake,
        "echoes": [finding(echo) for echo in found.echoes],
    }


def _forecast(check: Check) -> dict[str, Any] | None:
    if check.prediction is None:
        return None
    return {
        "measured": not is_forecast(check),
        "total": asdict(check.prediction.total),
        "levels": {name: asdict(band) for name, band in check.prediction.levels.items()},
        "gains": {name: asdict(band) for name, band in check.prediction.terms.items()},
        "outside": [o.operation for o in outside(check)],
        "unknown": check.prediction.unknown,
    }


def _probe(probe: Probe) -> dict[str, Any]:
    shown = asdict(replace(probe, spec=None))
    del shown["spec"]
    if probe.rate is not None:
        shown["rate"] |= {
            "largest_stable": largest_stable(probe.rate),
            "verdict": verdict(probe.rate),
        }
    return shown | {
        "operations": [_operation(operation) for operation in probe.operations],
        "weights": [_weight(weight) for weight in probe.weights],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    return asdict(operation) | {"log_gain": operation.log_gain}


def _weight(weight: Weight) -> dict[str, Any]:
    return asdict(weight) | {"scale": weight.scale, "update_ratio": update_ratio(weight)}


def update_ratio(weight: Weight) -> float | None:
    """Rms of the coming update over rms of the weights; None where there is no such ratio."""
    if weight.update is None or weight.value.rms == 0.0 or weight.value.non_finite:
        return None
    return weight.update / weight.value.rms


def plain(value: Any) -> Any:
    """With strings instead of what JSON has no words for."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
