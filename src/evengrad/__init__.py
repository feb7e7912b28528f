"""evengrad keeps the gradients of neural networks even.

``evengrad.check(model, loss=..., batch=(x, y))`` measures where the gradient grows or vanishes, and
says which layer, which cause and what to change. Importing evengrad loads nothing: each name below is
loaded by its first use, and a framework only by yours.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from evengrad.values.version import __version__ as __version__

if TYPE_CHECKING:
    from evengrad import keras, lightning, transformers
    from evengrad.diagnosis.diagnose import diagnose
    from evengrad.errors import (
        CannotChangeError,
        CannotCheckError,
        EvengradError,
        InternalError,
        MissingFrameworkError,
        ScriptError,
    )
    from evengrad.fixing.fix import fix
    from evengrad.fixing.outcome import Fixing
    from evengrad.fixing.patch import Patch
    from evengrad.recording.clip import Clip
    from evengrad.recording.guard import Guard, GuardStopError
    from evengrad.recording.listener import RunListener
    from evengrad.recording.reader import load
    from evengrad.values.finding import Cause, Finding, Severity
    from evengrad.values.probe import Probe
    from evengrad.values.run import Run
    from evengrad.verbs.check import Check, check
    from evengrad.verbs.forecast import Forecast, forecast
    from evengrad.verbs.watch import watch

__all__ = [
    "CannotChangeError",
    "CannotCheckError",
    "Cause",
    "Check",
    "Clip",
    "EvengradError",
    "Finding",
    "Fixing",
    "Forecast",
    "Guard",
    "GuardStopError",
    "InternalError",
    "MissingFrameworkError",
    "Patch",
    "Probe",
    "Run",
    "RunListener",
    "ScriptError",
    "Severity",
    "check",
    "diagnose",
    "fix",
    "forecast",
    "keras",
    "lightning",
    "load",
    "transformers",
    "watch",
]

_HOMES = {
    "diagnosis.diagnose": "diagnose",
    "errors": (
        "CannotChangeError CannotCheckError EvengradError InternalError MissingFrameworkError ScriptError"
    ),
    "fixing.fix": "fix",
    "fixing.outcome": "Fixing",
    "fixing.patch": "Patch",
    "recording.clip": "Clip",
    "recording.guard": "Guard GuardStopError",
    "recording.listener": "RunListener",
    "recording.reader": "load",
    "values.finding": "Cause Finding Severity",
    "values.probe": "Probe",
    "values.run": "Run",
    "verbs.check": "Check check",
    "verbs.forecast": "Forecast forecast",
    "verbs.watch": "watch",
}
_CALLBACKS = ("keras", "lightning", "transformers")
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name in _CALLBACKS:
        return importlib.import_module(f"evengrad.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"evengrad.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
