"""evengrad keeps the gradients of neural networks even.

``evengrad.check(model, loss=..., batch=(x, y))`` measures where the gradient grows or vanishes, and
says which layer, which cause and what to change. Importing evengrad loads no framework.
"""

from evengrad import keras as keras  # loads no framework until it is used
from evengrad.errors import CannotCheckError, EvengradError
from evengrad.fixing.fix import fix
from evengrad.fixing.outcome import Fixing
from evengrad.recording.guard import GuardStopError
from evengrad.recording.reader import load
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.probe import Probe
from evengrad.values.run import Run
from evengrad.verbs.check import Check, check
from evengrad.verbs.forecast import Forecast, forecast
from evengrad.verbs.watch import watch

__version__ = "0.1.0"

__all__ = [
    "CannotCheckError",
    "Cause",
    "Check",
    "EvengradError",
    "Finding",
    "Fixing",
    "Forecast",
    "GuardStopError",
    "Probe",
    "Run",
    "Severity",
    "check",
    "fix",
    "forecast",
    "load",
    "watch",
]
